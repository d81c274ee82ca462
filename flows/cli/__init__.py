"""The command line: a file of commands each, and what they share."""
