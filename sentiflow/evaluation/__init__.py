"""Metrics of the test split, statistics of differences, and the gate."""
