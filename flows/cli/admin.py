"""``sentiflow housekeeping``, ``monitor`` and ``ui``."""

import os
import signal
import socket
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlparse

import typer

from flows.cli.messages import shown_login
from flows.cli.options import INSPECT, OPERATE, JsonOption, WhoseOption, command
from flows.cli.tables import print_table, stdout_for
from flows.cli.train import start_servers
from sentiflow import process
from sentiflow.console import CONSOLE, escape
from sentiflow.errors import ExternalError
from sentiflow.names import BUILT_IN, dataset_of

if TYPE_CHECKING:
    from sentiflow.children import Child
    from sentiflow.settings import Settings

_START_SECONDS = 90  # of MLflow's UI
_AGAIN = "See the lines above, or try another port: sentiflow ui --port 5001"

app = typer.Typer()


@command(app, OPERATE, "sentiflow housekeeping", "SENTIFLOW_KEEP_RUNS_DAYS=90 sentiflow housekeeping")
def housekeeping(as_json: JsonOption = False) -> None:
    """Close the runs of killed processes; delete old files."""
    from sentiflow.settings import load_settings

    wait_for_server = start_servers(load_settings())
    from flows.housekeeping import housekeeping

    wait_for_server()
    report = housekeeping()
    stdout = stdout_for(report, as_json=as_json)
    stdout.say(*map(escape, report.lines()))


@command(app, OPERATE, "sentiflow monitor", "sentiflow monitor --dataset sample")
def monitor(dataset: WhoseOption = None, as_json: JsonOption = False) -> None:
    """Check recent texts for drift.

    Compares the texts scored and served since the last check with the training reviews. Needs a log of them: the
    setting SENTIFLOW_PREDICTION_LOG_DIR.
    """
    from sentiflow.monitoring.text_log import need_log
    from sentiflow.settings import load_settings
    from sentiflow.store.versions import model_named

    settings = load_settings()
    need_log(settings)
    model = dataset_of(model_named(settings, dataset))
    from sentiflow.operations.prefect_server import use_running

    has_server = use_running(settings)  # with the deployment that waits for the event
    wait_for_server = start_servers(settings)
    from flows.monitor import monitor

    wait_for_server()
    outcome = monitor(model)
    stdout = stdout_for(vars(outcome) | {"drifted": outcome.drifted}, as_json=as_json)
    if outcome.result is not None:
        from sentiflow.monitoring import check

        stdout.say(f"{escape(outcome.result.title)}: {outcome.texts:,} recent texts against the reviews\n")
        print_table(check.table(outcome.result), stdout)
        stdout.say(f"\nReport: {escape(outcome.run_url)}")
    stdout.say(f"[bold]{escape(outcome.summary)}[/]")
    if outcome.drifted:
        trained_on = model if model in BUILT_IN else "PATH"
        stdout.say(
            "The event was sent to Prefect: a deployment that waits for it, if there is one, trains now, and its "
            "version goes through the gate."
            if has_server
            else "No Prefect server is running: a deployment that waits for the event trains once `sentiflow "
            f"schedule` runs. To train now: sentiflow train --promote --dataset {trained_on}"
        )


@command(app, INSPECT, "sentiflow ui", "sentiflow ui --port 5001")
def ui(
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port; by default the one of SENTIFLOW_UI_URL.")
    ] = None,
) -> None:
    """Start the MLflow UI; Ctrl-C ends it."""
    from sentiflow.settings import load_settings

    settings = load_settings()
    if settings.tracking_uri.startswith("http"):
        from sentiflow.store.client import connect, experiment_id
        from sentiflow.store.ui import runs_url, ui_url

        pages = runs_url(ui_url(settings), experiment_id(connect(settings), settings))
        CONSOLE.say(f"The store is a server: open {escape(pages)}")
        return
    place = urlparse(settings.ui_url)
    host, port = place.hostname or "127.0.0.1", port or place.port or 5000
    hint = "Choose another: sentiflow ui --port NUMBER. SENTIFLOW_UI_URL names the host."
    with process.open_socket(host, port, hint) as listener:
        try:
            _show_pages(settings, listener, host, port)
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C and `kill` are how it ends; a closed terminal is not
            if process.first_signal() == signal.SIGHUP:
                raise


def _show_pages(settings: "Settings", listener: socket.socket, host: str, port: int) -> None:
    """Serve at a socket until the server ends, which it does not by itself.

    This process keeps the socket, so that no other can take the address and get the login.
    """
    CONSOLE.print("Starting the MLflow UI ...")
    from sentiflow.children import Child
    from sentiflow.store.client import connect, experiment_id
    from sentiflow.store.ui import LOGIN, login_note, runs_url

    address = process.address_of(host, port)
    experiment = experiment_id(connect(settings), settings)
    descriptor = listener.fileno()
    with login_note(settings, listener, address) as (login, note):
        server = Child(
            ["sentiflow.store.ui_server", str(descriptor), settings.tracking_uri, str(settings.artifacts), host,
             str(port)],
            {**os.environ, LOGIN: login},
            descriptors=[descriptor],
        )  # fmt: skip
        try:
            _need_answer(server, address)
            shown = f"MLflow UI: [bold]{escape(runs_url(address, experiment))}[/]"
            CONSOLE.say(f"{shown}{shown_login(login, note)}   (Ctrl-C ends it)")
            code = server.wait()
        finally:
            server.stop()
    raise ExternalError(f"The MLflow UI ended with exit code {code}.", _AGAIN)


def _need_answer(server: "Child", address: str) -> None:
    if not server.answers(f"{address}/health", _START_SECONDS):
        code = server.poll()
        why = f"did not answer within {_START_SECONDS} s" if code is None else f"ended (exit code {code})"
        raise ExternalError(f"The MLflow UI {why}.", _AGAIN)
