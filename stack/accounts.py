"""The accounts of MLflow's server, by the administrator's login; ``stack/accounts.sh`` is how a person calls it.

accounts.py                    make the roles, ``worker`` and ``reader``, or give these two their new passwords
accounts.py ROLE NAME          give an account one of the roles below, and make it where there is none
accounts.py password NAME      give it another password
accounts.py remove NAME        delete it

A new password is read from the input. What MLflow itself cannot hold of a role, ``mlflow_login.py`` does.
"""

import os
import sys
from collections.abc import Callable

from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

EXPERIMENTS, MODELS = "experiment", "registered_model"
ROLES = {
    "reader": {},
    "ci": {MODELS: "EDIT"},
    "trainer": {EXPERIMENTS: "EDIT", MODELS: "EDIT"},
    "approver": {EXPERIMENTS: "EDIT", MODELS: "MANAGE"},
}  # by kind, for all that there are and will be; what it made itself an account manages anyway

accounts = AuthServiceClient(os.environ["MLFLOW_TRACKING_URI"])


def made(make: Callable[..., object], *what: str | int) -> bool:
    """Make something; False where it is there already."""
    try:
        make(*what)
    except MlflowException as err:
        if err.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


def set_up() -> None:
    """Make what every stack has: the worker may do all, whoever made the experiment or model."""
    for name in ("worker", "reader"):
        password = os.environ[f"MLFLOW_{name.upper()}_PASSWORD"]
        if not made(accounts.create_user, name, password):
            accounts.update_user_password(name, password)
    for kind in (EXPERIMENTS, MODELS):
        made(accounts.grant_user_permission, "worker", kind, "*", "MANAGE")
    for role, permissions in ROLES.items():
        made(accounts.create_role, DEFAULT_WORKSPACE_NAME, role)
        for kind, permission in permissions.items():
            made(accounts.add_role_permission, role_ids()[role], kind, "*", permission)


def role_ids() -> dict[str, int]:
    return {role.name: role.id for role in accounts.list_all_roles() if role.name in ROLES}


def give(role: str, name: str) -> str:
    """Let an account have this role, and of ours no other."""
    is_new = made(lambda: accounts.create_user(name, sys.stdin.read()))
    ids = role_ids()
    made(accounts.assign_role, name, ids[role])
    for other in accounts.list_user_roles(name):
        if other.name in ids and other.name != role:
            accounts.unassign_role(name, other.id)
    return f"{name}: {'made, ' if is_new else ''}now {role}"


def do(words: list[str]) -> str:
    """Do what the words say; gives what was done."""
    match words:
        case ["password", name]:
            accounts.update_user_password(name, sys.stdin.read())
            return f"{name}: another password"
        case ["remove", name]:
            accounts.delete_user(name)
            return f"{name}: removed"
        case [role, name]:
            return give(role, name)
    set_up()
    return "The accounts worker and reader, and the roles, are there"


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{do(sys.argv[1:])}\n")
    except MlflowException as err:
        sys.exit(f"MLflow's server refused it: {err.message}")
