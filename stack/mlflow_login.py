"""Who asks MLflow's server: by name and password, as MLflow's own check does; and what a role may not do.

By default every account may make experiments, models and versions, and owns what it made. An account with the role
``reader``, and the API's of this name, only reads. With ``ci`` and ``trainer`` it registers versions, but does not
move an alias, change a model's history or delete, whoever made the model: MLflow has one permission for all of it.
"""

import re

from flask import Response, g, request
from mlflow.server import auth
from werkzeug.datastructures import Authorization

_ASKS = re.compile(r"/(search|search-datasets|graphql)$")
_OWN = re.compile(r"/users/update-password$")
_PROMOTES = re.compile(
    r"/registered-models/(alias|delete|delete-tag|rename|set-tag)$|/model-versions/(delete|transition-stage)$"
)


def authenticate() -> Authorization | Response:
    """The login of the request at hand, or the answer that refuses it."""
    login = auth.authenticate_request_basic_auth()
    reads = request.method in ("GET", "HEAD") or _ASKS.search(request.path)
    if isinstance(login, Authorization) and not reads and _is_refused(str(login.username)):
        return auth.make_forbidden_response()
    return login


def _is_refused(name: str) -> bool:
    if name == "worker":  # whose many requests need no look into the database
        return False
    roles = _roles(name)
    if "reader" in roles:
        return not _OWN.search(request.path) or name == "reader"
    return bool({"ci", "trainer"} & roles and _PROMOTES.search(request.path))


def _roles(name: str) -> set[str]:
    if name == "reader":
        return {name}
    if "roles" not in g:  # MLflow asks for the login several times a request
        g.roles = {role.name for role in auth.store.list_user_roles(auth.store.get_user(name).id)}
    return set(g.roles)
