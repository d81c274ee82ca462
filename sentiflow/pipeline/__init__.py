"""A training, step by step: what Prefect runs as tasks, as plain functions."""
