"""``sentiflow schedule``: flows when they are due; ``trigger``: one now."""

import asyncio
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.options import OPERATE, command
from flows.cli.output import relayed, show, shown_login
from sentiflow.console import CONSOLE, escape, working
from sentiflow.errors import ExternalError, RejectedError, UsageError
from sentiflow.redaction import without_login

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import State

    from sentiflow.operations.deployments import Applied, Deployment
    from sentiflow.operations.prefect_server import Server
    from sentiflow.settings import Settings

_WAITS = (
    "waits: another run of this deployment has its place. One that was killed gives it back after some minutes, "
    "or at once with: sentiflow trigger housekeeping"
)
_QUEUED = (
    "Still queued: no worker has picked it up. In the stack see `docker compose ps worker` and `make logs`; "
    "on one machine, whether `sentiflow schedule` runs."
)
_SAID_OF = {"prefect.flow-run.AwaitingConcurrencySlot": _WAITS, "prefect.flow-run.Late": _QUEUED}

app = typer.Typer()


@command(
    app,
    OPERATE,
    "sentiflow schedule",
    'sentiflow schedule --train "every 10m" --dataset sample',
    'SENTIFLOW_SCHEDULE_TIMEZONE=Europe/Berlin sentiflow schedule --train "0 3 * * *"',
    note="A schedule is a cron line (`0 3 * * 1`), an interval (`every 30s`, `every 15m`, `every 6h`), or `off`. "
    "The settings `SENTIFLOW_SCHEDULE_...` say when the other flows run, and with what.",
)
def schedule(
    *,
    train: Annotated[str | None, typer.Option(metavar="SCHEDULE", help="When to train.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Dataset to train on, promote and monitor.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only register the deployments, for this work pool.")
    ] = None,
) -> None:
    """Run the flows on their schedules, with a Prefect UI.

    Runs until Ctrl-C. Flows that are running then are cancelled and closed.
    """
    from flows.schedules import deployments, scheduled_table
    from sentiflow.settings import load_settings

    given = {"schedule_train": train, "schedule_dataset": dataset}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    specs = deployments(settings)
    if pool is not None:
        _register(specs, pool, settings)
        return
    CONSOLE.print("Starting up ...")
    from sentiflow.data.prepare import check_data
    from sentiflow.locks import file_lock
    from sentiflow.operations.prefect_server import running_server, schedule_folder

    if any(spec.flow == "train" and spec.schedule for spec in specs):
        check_data(settings.schedule_dataset, settings, scheduled_table(settings))
    what = "Another `sentiflow schedule` with this data folder"  # it would manage the same runs
    try:
        with (
            file_lock(schedule_folder(settings) / "lock", what, "schedule", hint="End that one first."),
            running_server(settings) as server,
            relayed(),
        ):
            _serve(specs, server, settings)
    except KeyboardInterrupt:
        CONSOLE.print("Ended.")


def _register(specs: "list[Deployment]", pool: str, settings: "Settings") -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from sentiflow.operations.deployments import apply
    from sentiflow.operations.flow_runs import write_alarm
    from sentiflow.operations.prefect_server import connect_to_running

    server = connect_to_running(settings)
    if server.login:
        problem = "The running `sentiflow schedule` runs the deployments of its Prefect server itself."
        raise UsageError(problem, "For --pool set PREFECT_API_URL to another server: prefect server start")
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound as err:
            problem = f"This Prefect server has no work pool {pool!r}."
            raise UsageError(problem, f"Create it: prefect work-pool create {quote(pool)} --type process") from err
        for spec in specs:
            _print_schedule(apply(client, spec, pool))
        write_alarm(client, settings)
    CONSOLE.say(f"Registered with {escape(without_login(server.ui))}; workers of {escape(repr(pool))} run them.")


def _serve(specs: "list[Deployment]", server: "Server", settings: "Settings") -> None:
    from prefect.client.orchestration import get_client

    from sentiflow.operations.deployments import apply, run_until_signal
    from sentiflow.operations.flow_runs import close_orphaned
    from sentiflow.operations.housekeeping import close_killed

    with get_client(sync_client=True) as client:
        applied = [apply(client, spec) for spec in specs]
        dead = close_orphaned(client, [each.id for each in applied])
        CONSOLE.say(*(f"Marked as crashed: {escape(run.name)}, whose process was killed." for run in dead))
        if dead:  # their runs in MLflow, too
            close_killed(settings, datetime.now(UTC))
        _announce(applied, server, settings)
        run_until_signal(applied, lambda: CONSOLE.print("Ending: running flows are cancelled and closed ..."))
    CONSOLE.print("Ended.")


def _announce(applied: "list[Applied]", server: "Server", settings: "Settings") -> None:
    from sentiflow.operations.prefect_server import OUR_USER, server_note

    CONSOLE.print("Prefect: started here" if server.login else "Prefect: the server that is set")
    for each in applied:
        _print_schedule(each)
    login = ""
    if server.login.startswith(OUR_USER):
        login = shown_login(server.login, server_note(settings))
    elif server.login:
        login = "   login: [bold]of Prefect's settings[/]"
    CONSOLE.say(f"Prefect UI: [bold]{escape(without_login(server.ui))}[/]{login}   (Ctrl-C ends it)")


def _print_schedule(applied: "Applied") -> None:
    CONSOLE.say(f"  {applied.spec.flow:<13} {escape(_when(applied))}")


def _when(applied: "Applied") -> str:
    from sentiflow.operations.deployments import TAG, describe_schedule, next_time

    if not applied.on_server.schedules:
        return "no schedule"
    if not applied.active:
        return "paused in the Prefect UI"
    times = [next_time(schedule, datetime.now(UTC)) for schedule in applied.active]
    soonest = min((time for time in times if time), default=None)
    schedule = applied.spec.schedule
    ours = any(each.active and each.slug == TAG for each in applied.on_server.schedules)
    text = describe_schedule(schedule) if schedule and ours else "a schedule made in the Prefect UI"
    return text if soonest is None else f"{text}, next {soonest:%a %Y-%m-%d %H:%M:%S} UTC"


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
