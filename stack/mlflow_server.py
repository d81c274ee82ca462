"""MLflow's server of the team: with accounts, two workers, and artifacts that clients send to it.

python mlflow_server.py HOST PORT STORE FOLDER NAME[:PORT] ...

The names are those by which it is asked; one without a port may have any. MLFLOW_PUBLIC_URL is its address behind
a proxy, https://HOST[:PORT][/PATH]; the proxy takes the path away.
"""

import os
import sys

import uvicorn
from starlette.types import ASGIApp

from sentiflow.edge import ANY_PORT, Origins
from sentiflow.environment import raise_open_files
from sentiflow.store.ui_server import TEAM, UVICORN, MlflowEdge, refuse_places, set_environment

_, HOST, PORT, STORE, FOLDER, *NAMES = sys.argv  # a worker gets the same


def create() -> ASGIApp:
    """The app of a worker."""
    set_environment(STORE, "mlflow-artifacts:/", FOLDER)
    from mlflow.server.auth import create_app

    app = create_app()
    refuse_places()  # after the check of the account
    names = [(name, int(port or ANY_PORT)) for name, _, port in (each.partition(":") for each in NAMES)]
    return MlflowEdge(app, TEAM, Origins(names, public=os.environ.get("MLFLOW_PUBLIC_URL", "")))


def main() -> None:
    """Check the database and make the first account; then serve until SIGTERM."""
    set_environment(STORE, "mlflow-artifacts:/", FOLDER)
    from mlflow.server.auth import bootstrap_admin_user, get_flask_server_secret_key
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(STORE, STORE, "mlflow-artifacts:/")
    get_flask_server_secret_key()
    bootstrap_admin_user()
    raise_open_files()
    uvicorn.run("mlflow_server:create", factory=True, host=HOST, port=int(PORT), workers=2, **UVICORN)


if __name__ == "__main__":
    main()
