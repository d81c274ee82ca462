"""Prefect tasks: one step with one side effect each."""
