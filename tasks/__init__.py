"""Prefect tasks: one step with one side effect each."""

from sentiflow.environment import send_no_usage_data

send_no_usage_data()
