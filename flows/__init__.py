"""What runs, in which order: Prefect flows and the command line."""

import os

from sentiflow.console import outlive_readers

os.environ.setdefault("DO_NOT_TRACK", "true")  # no usage data, by Prefect or MLflow
outlive_readers()  # every process that runs a flow or a command comes by here
