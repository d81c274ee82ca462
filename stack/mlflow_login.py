"""Who asks MLflow's server: by name and password, as MLflow's own check does; the reader's account only reads.

By default every account may make experiments, models and versions, and owns what it made.
"""

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response
from werkzeug.datastructures import Authorization

READER = "reader"


def authenticate() -> Authorization | Response:
    """The login of the request at hand, or the answer that refuses it."""
    login = authenticate_request_basic_auth()
    reading = request.method in ("GET", "HEAD") or request.path.endswith("/search")
    if isinstance(login, Authorization) and login.username == READER and not reading:
        return make_forbidden_response()
    return login
