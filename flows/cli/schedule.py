"""``sentiflow schedule``."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.console import relayed
from flows.deployments import deployments
from sentiflow.console import CONSOLE, escape
from sentiflow.locks import file_lock
from sentiflow.orchestration.deployments import Deployment
from sentiflow.output import without_login
from sentiflow.settings import Settings, load_settings

logger = logging.getLogger(__name__)

if TYPE_CHECKING:  # its imports take seconds, and a wrong option is told sooner
    from sentiflow.orchestration.deployments import Applied
    from sentiflow.orchestration.server import Server


def run(changes: Sequence[str], overrides: dict[str, Any], *, debug: bool) -> None:
    """Run all deployments when they are due, with a Prefect server of our own if none is set, until Ctrl-C.

    Args:
        changes: fields of the recipe, ``key=value``.
        overrides: settings that options change.
        debug: show every line of the runs.

    Raises:
        UsageError: a schedule is malformed, or lacks what it needs.
        WorldError: the server does not come up, or another `sentiflow schedule` uses this data folder.
    """
    settings = load_settings(**{name: value for name, value in overrides.items() if value is not None})
    table = deployments(settings, changes)
    CONSOLE.print("Starting up ...")
    from sentiflow.data.prepare import check_data
    from sentiflow.orchestration.deployments import check
    from sentiflow.orchestration.server import running_server, schedule_folder

    check(table)
    check_data(settings.schedule_dataset, settings)
    try:
        with (
            _alone(schedule_folder(settings), "with this data folder"),
            running_server(settings) as server,
            _alone(
                _home() / "sentiflow" / sha256(server.ui.encode()).hexdigest()[:12],
                f"with {without_login(server.ui)}",
            ),
            relayed(debug=debug),
        ):
            _serve(table, server, settings)
    except KeyboardInterrupt:
        CONSOLE.print("Ended.")


def _home() -> Path:
    """Prefect's folder of this user: what all projects that share a server on this machine have in common."""
    from prefect.settings import get_current_settings

    return get_current_settings().home


def _serve(table: list[Deployment], server: "Server", settings: Settings) -> None:
    from prefect.client.orchestration import get_client

    from sentiflow.children import mark_children
    from sentiflow.orchestration.deployments import apply
    from sentiflow.orchestration.repair import close_killed
    from sentiflow.orchestration.schedule import close_left_behind, due_runs, run_until_told

    began = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        applied = [apply(client, spec) for spec in table]
        ids = [each.id for each in applied]
        dead = close_left_behind(client, ids)
        for run in dead:
            CONSOLE.print(f"Marked as crashed: {escape(run.name)}, whose process was killed.", soft_wrap=True)
        if dead:  # their runs in MLflow, too
            close_killed(settings, logger, datetime.now(UTC))
        late = {run.deployment_id for run in due_runs(client, ids, before=began) if run.auto_scheduled}
        caught_up = [each.spec.flow for each in applied if each.id in late]
        _tell(applied, caught_up, server)
        mark_children()
        run_until_told(applied, lambda: CONSOLE.print("Ending; what runs is cancelled and closed ..."))
    CONSOLE.print("Ended.")


def _tell(applied: list["Applied"], caught_up: list[str], server: "Server") -> None:
    from sentiflow.orchestration.server import OUR_USER

    CONSOLE.print(f"Prefect: {server.told}")
    for each in applied:
        more = ", and now once for what was missed" if each.spec.flow in caught_up else ""
        CONSOLE.print(f"  {each.spec.flow:<13} {escape(_when(each))}{more}", soft_wrap=True)
    shown = server.login if server.login.startswith(OUR_USER) else "of Prefect's settings"
    login = f"   login: [bold]{escape(shown)}[/]" if server.login else ""
    CONSOLE.print(f"Prefect UI: [bold]{without_login(server.ui)}[/]{login}   (Ctrl-C ends it)", soft_wrap=True)


def _when(applied: "Applied") -> str:
    from sentiflow.orchestration.deployments import first_slot

    on_server = applied.on_server
    if not on_server.schedules:
        return "no schedule"
    if not applied.active:
        return "paused in the Prefect UI"
    slots = [first_slot(schedule, datetime.now(UTC)) for schedule in applied.active]
    soonest = min((slot for slot in slots if slot), default=None)
    told = str(applied.spec.schedule or "a schedule made in the Prefect UI")
    return told if soonest is None else f"{told}, next {soonest:%a %Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def _alone(folder: Path, what: str) -> Iterator[None]:
    """Refuse a second schedule: both would look after the same runs, or undo each other's deployments."""
    hint = "End that one first, or give this one a server of its own: SENTIFLOW_PREFECT_PORT."
    with file_lock(folder / "lock", f"Another `sentiflow schedule` {what}", "schedule", hint=hint):
        yield
