"""The space of a sweep, its study and its results."""
