"""Runs as something to read: a page and a summary of one run, and of several held against each other."""
