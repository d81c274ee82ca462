"""Prefect tasks: one step with one side effect each."""

import os

from sentiflow.environment import isolate

isolate()  # what runs flows may be a worker, or a program of the user's
# No usage data; the third is of Prefect's servers. Workers of Dask import only this.
for _name, _value in (
    ("DO_NOT_TRACK", "true"),
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
):
    os.environ.setdefault(_name, _value)
