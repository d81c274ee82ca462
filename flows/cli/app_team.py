"""The command that takes one person's store to a team's server."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console
from flows.cli.options import DebugOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="import", epilog=_IMPORT)(import_store)


_IMPORT = """Examples:

    sentiflow import mlruns/mlflow.db --database postgresql://mlflow:...@db/mlflow --artifacts /srv/artifacts"""


def import_store(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The mlflow.db of a local store.")],
    database: Annotated[
        str,
        typer.Option(
            envvar="MLFLOW_BACKEND_STORE_URI",
            help="The server's own database.",
            show_envvar=True,
            show_default=False,
        ),
    ],
    artifacts: Annotated[
        str,
        typer.Option(
            envvar="MLFLOW_ARTIFACTS_DESTINATION", help="The folder in which the server keeps artifacts."
        ),
    ],
    debug: DebugOption = False,
) -> None:
    """Move a local store into an MLflow server: runs, models, versions and aliases keep their ids and times."""
    console.set_up(debug=debug)
    from flows.cli import import_store as command

    command.run(store, database, artifacts)
