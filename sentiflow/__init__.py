"""The library: everything that is no flow and no task. Importing it does nothing."""
