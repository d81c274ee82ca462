"""``sentiflow housekeeping``, ``monitor``, ``ui`` and ``trigger``, which starts a run of a deployment."""

import asyncio
import json
import logging
import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlparse

import typer

from flows.cli.options import INSPECT, OPERATE, JsonOption, WhoseOption, command
from flows.cli.output import print_table, show, shown_login, stdout_for
from flows.cli.train import start_servers
from sentiflow import environment, signals
from sentiflow.console import CONSOLE, escape, working
from sentiflow.errors import ExternalError, RejectedError, UsageError
from sentiflow.names import dataset_of

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import State

    from sentiflow.settings import Settings

_START_SECONDS = 90  # of MLflow's UI
_WAITS = (
    "waits: another run of this deployment has its place. One that was killed gives it back after some minutes, "
    "or at once with: sentiflow trigger housekeeping"
)
_QUEUED = (
    "Still queued: no worker has picked it up. In the stack see `docker compose ps worker` and `make logs`; "
    "on one machine, whether `sentiflow schedule` runs."
)
_SAID_OF = {"prefect.flow-run.AwaitingConcurrencySlot": _WAITS, "prefect.flow-run.Late": _QUEUED}
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
    from sentiflow.monitoring.log import need_log
    from sentiflow.settings import load_settings
    from sentiflow.store.find import model_named

    settings = load_settings()
    need_log(settings)
    model = dataset_of(model_named(settings, dataset))
    from sentiflow.operations.prefect_server import use_running

    use_running(settings)
    wait_for_server = start_servers(settings)
    from flows.monitor import monitor

    wait_for_server()
    outcome = monitor(model)
    stdout = stdout_for(vars(outcome) | {"drifted": outcome.drifted, "summary": outcome.summary}, as_json=as_json)
    stdout.say(*map(escape, outcome.accuracy))
    if outcome.result is not None:
        from sentiflow.monitoring import check

        stdout.say(f"{escape(outcome.result.title)}: {outcome.texts:,} recent texts against the reviews\n")
        print_table(check.table(outcome.result), stdout)
        stdout.say(f"\n{check.NO_LABELS}", f"Report: {escape(outcome.run_url)}")
    stdout.say(f"[bold]{escape(outcome.drift)}[/]")
    if outcome.drifted or outcome.dropped:
        from sentiflow.monitoring.check import what_to_do

        stdout.say(escape(what_to_do(outcome.model)))


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
    with environment.open_socket(host, port, hint) as listener:
        try:
            _show_pages(settings, listener, host, port)
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C and `kill` are how it ends; a closed terminal is not
            if signals.first_signal() == signal.SIGHUP:
                raise


def _show_pages(settings: "Settings", listener: socket.socket, host: str, port: int) -> None:
    """Serve at a socket until the server ends, which it does not by itself.

    This process keeps the socket, so that no other can take the address and get the login.
    """
    CONSOLE.print("Starting the MLflow UI ...")
    from sentiflow.children import Child, stop
    from sentiflow.store.client import connect, experiment_id
    from sentiflow.store.ui import LOGIN, login_note, runs_url

    address = environment.address_of(host, port)
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
            if not server.answers(f"{address}/health", _START_SECONDS):
                code = server.poll()
                why = f"did not answer within {_START_SECONDS} s" if code is None else f"ended (exit code {code})"
                raise ExternalError(f"The MLflow UI {why}.", _AGAIN)
            shown = f"MLflow UI: [bold]{escape(runs_url(address, experiment))}[/]"
            CONSOLE.say(f"{shown}{shown_login(login, note)}   (Ctrl-C ends it)")
            code = server.wait()
        finally:
            stop([server])
    raise ExternalError(f"The MLflow UI ended with exit code {code}.", _AGAIN)


@command(
    app,
    OPERATE,
    "sentiflow trigger train",
    'sentiflow trigger train --param seed=7 --param config=\'{"recipe": "tuned", "epochs": 3}\'',
    "sentiflow trigger promote --param version=3 --no-wait",
)
def trigger(
    flow: Annotated[
        str,
        typer.Argument(
            metavar="FLOW",
            help="train, repeat, sweep, reproduce, promote, score, housekeeping, monitor, or FLOW/DEPLOYMENT.",
        ),
    ],
    *,
    params: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="KEY=JSON",
            help="A parameter of this run; what is no JSON is text; repeatable.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the log until the run ends.")] = True,
) -> None:
    """Start a run of a deployment now and follow it.

    Parameters that are not given are the deployment's.
    """
    from sentiflow.settings import load_settings

    given = dict(map(_parameter, params or ()))
    settings = load_settings()
    with working("Connecting to Prefect"):
        from prefect.client.orchestration import get_client

        from sentiflow.operations import flow_runs
        from sentiflow.operations.deployments import read
        from sentiflow.operations.prefect_server import connect_to_running, flow_run_url

        connect_to_running(settings)
    with get_client(sync_client=True) as client:
        deployment = read(client, flow if "/" in flow else f"{flow}/{flow}")
        if deployment is None:
            there = ", ".join(flow_runs.names(client)) or "none yet: start `sentiflow schedule`"
            raise UsageError(f"There is no deployment of {flow!r}.", f"There are: {there}.")
        flow_run = flow_runs.start(client, deployment, given)
        CONSOLE.say(f"Started [bold]{flow}[/]: {escape(flow_run_url(str(flow_run.id)))}")
        if not wait:
            return
        try:
            asyncio.run(_follow(flow_run.id))
        except KeyboardInterrupt:
            CONSOLE.print("Stopped following; the run continues.")
        else:
            _end(client.read_flow_run(flow_run.id).state)


def _parameter(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"--param expects KEY=JSON, got {text!r}.", "For example: --param seed=7")
    with suppress(ValueError):
        return key.strip(), json.loads(value)
    return key.strip(), value


async def _follow(flow_run_id: "UUID") -> None:
    """Print a run's log lines until it ends; only a server that streams them sends any."""
    from prefect.client.schemas.objects import Log
    from prefect.events.subscribers import FlowRunSubscriber
    from websockets.exceptions import WebSocketException

    try:
        async with FlowRunSubscriber(flow_run_id) as stream:
            async for item in stream:
                if isinstance(item, Log):
                    step = "flow" if item.task_run_id is None else "task"
                    show(item.timestamp.astimezone(), step, item.message, item.level)
                elif told := _SAID_OF.get(item.event):
                    show(item.occurred.astimezone(), "flow", told, logging.WARNING)
    except (OSError, WebSocketException) as err:
        raise ExternalError(f"The Prefect server was lost: {err}.", "The run may continue: see its page.") from err


def _end(state: "State[Any] | None") -> None:
    from sentiflow.operations.flow_runs import ENCOUNTERED, error_of

    if state is None or not state.is_final():
        raise ExternalError("The Prefect server sends nothing more of this run.", "It may continue: see its page.")
    if state.name == "Refused":
        raise RejectedError(state.message or "", "Its log in the Prefect UI has all checks.")
    if state.is_completed():
        first, *others = map(escape, (state.message or "").splitlines() or [""])
        CONSOLE.say(f"[bold]{escape(state.name or 'Completed')}.[/] {first}".rstrip(), *others)
        return
    lines = (state.message or "It left no message.").splitlines()
    message = f"The run ended as {(state.name or state.type.value).lower()}: {ENCOUNTERED.sub('', lines[0])}"
    hint = lines[1] if len(lines) > 1 else "The Prefect UI has all of its log lines."
    raise (RejectedError if error_of(state) == "RejectedError" else ExternalError)(message, hint)
