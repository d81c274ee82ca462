"""Prefect tasks: one step with one side effect each."""

import os

# No usage data; the third is of Prefect's servers. Prefect and MLflow read these as they are imported.
for _name, _value in (
    ("DO_NOT_TRACK", "true"),
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
):
    os.environ.setdefault(_name, _value)
