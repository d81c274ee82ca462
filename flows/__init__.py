"""What runs, in which order: Prefect flows and the command line."""

import tasks  # noqa: F401 - first, before Prefect and MLflow: it sets that they send no usage data
