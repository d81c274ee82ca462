"""Make the account with which the service reads the registry, or give it its password anew."""

import os

from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient

name, password = os.environ["READER_USERNAME"], os.environ["READER_PASSWORD"]
accounts = AuthServiceClient(os.environ["MLFLOW_TRACKING_URI"])
try:
    accounts.create_user(name, password)
except MlflowException as err:
    if err.error_code != "RESOURCE_ALREADY_EXISTS":
        raise
    accounts.update_user_password(name, password)
