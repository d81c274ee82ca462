"""``sentiflow schedule``: flows when they are due."""

from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import OPERATE, command
from flows.cli.output import relayed, shown_login
from sentiflow.console import CONSOLE, escape
from sentiflow.errors import UsageError
from sentiflow.redaction import without_login

if TYPE_CHECKING:
    from sentiflow.operations.deployments import Applied, Deployment
    from sentiflow.operations.prefect_server import Server
    from sentiflow.settings import Settings

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
