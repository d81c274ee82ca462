"""Drift of the texts that are scored."""
