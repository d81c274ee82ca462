"""Prefect: its server, deployments, runs that are due, flow runs, repair after kills, cleanup of what is old."""
