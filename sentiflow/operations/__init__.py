"""Prefect: servers, schedules, flow runs, repair, notification, runners."""
