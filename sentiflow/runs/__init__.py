"""A run as a record: its fields, queries and comparison."""
