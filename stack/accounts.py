"""The ordinary accounts of MLflow's server: made, or given new passwords.

``worker`` trains, registers and promotes, whoever made the experiment or model; ``reader`` only reads, by
``mlflow_login.py``.
"""

import os
from collections.abc import Callable

from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient


def made(make: Callable[..., object], *what: str) -> bool:
    """Make something; False where it is there already."""
    try:
        make(*what)
    except MlflowException as err:
        if err.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


accounts = AuthServiceClient(os.environ["MLFLOW_TRACKING_URI"])
for name in ("worker", "reader"):
    password = os.environ[f"MLFLOW_{name.upper()}_PASSWORD"]
    if not made(accounts.create_user, name, password):
        accounts.update_user_password(name, password)
for kind in ("experiment", "registered_model"):
    made(accounts.grant_user_permission, "worker", kind, "*", "MANAGE")
