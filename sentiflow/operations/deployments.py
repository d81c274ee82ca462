"""Deployments of the flows: how they are registered, and how Prefect's runner starts what is due of them."""

import asyncio
import json
import os
import pkgutil
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, NoSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.server.schemas.schedules import SCHEDULE_TYPES
from pydantic import TypeAdapter, ValidationError

from sentiflow import signals
from sentiflow.children import mark_children
from sentiflow.environment import FOLDER, here
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.operations.prefect_server import lasting_api_url, page_url, to_choose_another
from sentiflow.settings import OFF

TAG = "sentiflow"  # tag of our deployments, which are named after their flows, and slug of their schedules

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


Schedule: TypeAlias = CronSchedule | IntervalSchedule
AnySchedule: TypeAlias = Schedule | RRuleSchedule | NoSchedule  # also made in Prefect's UI

_POLL = 2.0  # seconds: a run that somebody asks for begins soon
_LAST_SECONDS = 60.0  # the most that the end may take, with a server that does not answer
_REPEAT_SECONDS = 1.0  # two signals closer than this are one
_OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # Ctrl-C, and the terminal's own end

# The times of an interval stay the same whenever it is registered: every 6h is 0, 6, 12 and 18 o'clock.
_ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Deployment:
    """A flow, by its module and name, with parameters and schedule."""

    entrypoint: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None
    concurrency_limit: int | None = None

    @property
    def flow(self) -> str:
        return self.entrypoint.rpartition(".")[2]

    @property
    def full_name(self) -> str:
        """As Prefect names it: flow and deployment."""
        return f"{self.flow}/{self.flow}"


def parse_schedule(text: str, timezone: str, what: str) -> Schedule | None:
    """Read a cron line, ``every 30s`` and the like, or ``off`` (None); ``what`` is its name in messages."""
    text = " ".join(text.split())
    if text.lower() == OFF:
        return None
    if (found := re.fullmatch(r"every (\d{1,6}) ?([smhd])", text)) and int(found[1]):
        every = timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        return IntervalSchedule(interval=every, anchor_date=_ANCHOR, timezone="UTC")
    expected = "a cron line (0 3 * * 1), an interval (every 30s, every 15m, every 6h), or off"
    refused = UsageError(f"{what}: expected {expected}, got {text!r}.", "For example: every 6h")
    if not re.fullmatch(r"@[a-z]+", text) and len(text.split()) != 5:
        raise refused
    try:
        schedule = CronSchedule(cron=text, timezone=timezone)
    except ValidationError as err:
        raise refused from err
    try:
        next_time(schedule, datetime.now(UTC))
    except ValueError as err:  # the line alone does not show it: the 30th of February
        raise UsageError(f"{what}: {text!r} never occurs.", "Correct its day or month.") from err
    return schedule


def describe_schedule(schedule: Schedule) -> str:
    """The schedule as a setting has it; an interval in the largest unit that fits."""
    if isinstance(schedule, CronSchedule):
        return f"{schedule.cron} ({schedule.timezone})"
    seconds = round(schedule.interval.total_seconds())
    unit = max((unit for unit in _SECONDS if seconds % _SECONDS[unit] == 0), key=_SECONDS.__getitem__)
    return f"every {seconds // _SECONDS[unit]}{unit}"


def next_time(schedule: AnySchedule, after: datetime) -> datetime | None:
    """The first time of a schedule later than another; None when there is none."""
    if isinstance(schedule, NoSchedule):
        return None
    server_side: SCHEDULE_TYPES = TypeAdapter(SCHEDULE_TYPES).validate_python(schedule.model_dump())
    found = asyncio.run(server_side.get_dates(n=1, start=after + timedelta(microseconds=1)))
    return found[0].astimezone(UTC) if found else None


# An update changes only the fields that it names, so it names all that Prefect knows but what stays.
_EMPTY = {
    name: field.get_default(call_default_factory=True)
    for name, field in DeploymentUpdate.model_fields.items()
    if name not in ("paused", "schedules")
}


@dataclass(frozen=True)
class Applied:
    """A deployment as it stands on the server."""

    spec: Deployment
    on_server: DeploymentResponse

    @property
    def id(self) -> UUID:
        return self.on_server.id

    @property
    def active(self) -> list[AnySchedule]:
        if self.on_server.paused:
            return []
        return [each.schedule for each in self.on_server.schedules if each.active]


def apply(client: SyncPrefectClient, spec: Deployment, work_pool: str | None = None) -> Applied:
    """Write a deployment to the server, every field of it: what somebody else wrote there does not stay.

    Two things are kept: what is paused stays paused (the deployment, its schedule), and schedules that
    a person added are left alone. Without a work pool, this process runs it.
    """
    existing = read(client, spec.full_name)
    if existing is None:
        flow_id = client.create_flow_from_name(spec.flow)
        made = _schedules(spec, active=True)
        deployment_id = client.create_deployment(flow_id, spec.flow, schedules=made, **_fields(spec, work_pool))
    elif existing.work_pool_name and work_pool is None:
        raise UsageError(
            f"{spec.full_name} belongs to the work pool {existing.work_pool_name} of this Prefect server.",
            f"Its workers run it; `sentiflow schedule` is for a server of its own: {to_choose_another()}.",
        )
    else:
        deployment_id = existing.id
        client.update_deployment(deployment_id, DeploymentUpdate(**_EMPTY | _fields(spec, work_pool)))
        _reschedule(client, existing, spec)
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment_id}")
    return Applied(spec, client.read_deployment(deployment_id))


def read(client: SyncPrefectClient, full_name: str) -> DeploymentResponse | None:
    """The deployment of that name, ``FLOW/DEPLOYMENT``, or None."""
    if full_name.count("/") != 1:
        return None
    try:
        return client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        return None


def form_url(dataset: str, version: int) -> str:
    """Address of the form to answer in, of the deployment ``promote``; empty where no server stays that has it."""
    if not lasting_api_url():
        return ""
    with get_client(sync_client=True) as client:
        found = read(client, "promote/promote")
    about = urlencode({"parameters": json.dumps({"dataset": dataset, "version": version})})
    return page_url(f"deployments/deployment/{found.id}/run?{about}") if found else ""


_FIRST = ("dataset", "seed")  # in Prefect's form, before the many fields of a recipe


def _fields(spec: Deployment, work_pool: str | None) -> dict[str, Any]:
    """All but the schedule."""
    flow: Flow[..., Any] = pkgutil.resolve_name(spec.entrypoint)
    schema = flow.parameters.model_dump(exclude_unset=True)
    for position, name in enumerate(_FIRST, -len(_FIRST)):
        if name in schema["properties"]:
            schema["properties"][name]["position"] = position
    return {
        "version": flow.version,
        "description": spec.description,
        "tags": [TAG],
        "parameters": spec.parameters,
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
        "path": str(here()) if work_pool is None else None,
        "entrypoint": spec.entrypoint,
        "pull_steps": [],
        "concurrency_limit": spec.concurrency_limit,
        "work_pool_name": work_pool,
    }


def _schedules(spec: Deployment, *, active: bool) -> list[DeploymentScheduleCreate]:
    if spec.schedule is None:
        return []
    return [DeploymentScheduleCreate(schedule=spec.schedule, active=active, slug=TAG)]


def _reschedule(client: SyncPrefectClient, existing: DeploymentResponse, spec: Deployment) -> None:
    """Replace our schedule if it, or what it starts, changed, or it is paused: what is late goes.

    Not by an update of the deployment: that removes all schedules when one that a person added has no slug.
    """
    ours = [each for each in existing.schedules if each.slug == TAG]
    made = _schedules(spec, active=all(each.active for each in ours))
    compared = {"schedule", "active", "slug", "parameters", "max_scheduled_runs"}
    there, wanted = ([each.model_dump(include=compared) for each in side] for side in (ours, made))
    if there == wanted and existing.parameters == spec.parameters and all(each.active for each in ours):
        return
    for each in ours:
        client.delete_deployment_schedule(existing.id, each.id)
    state = {"name": {"any_": ["AwaitingConcurrencySlot"]}}
    late = FlowRunFilter(deployment_id={"any_": [existing.id]}, state=state)
    while waiting := [run for run in client.read_flow_runs(flow_run_filter=late) if run.auto_scheduled]:
        for run in waiting:  # Prefect leaves these
            client.delete_flow_run(run.id)
    if made:
        client.create_deployment_schedules(existing.id, made)


@dataclass(frozen=True)
class _Known:
    """A deployment that ``apply`` has written, for a runner to watch.

    A ``RunnerDeployment`` writes it again: that removes schedules which a person added, and leaves fields that a
    stranger set.
    """

    id: UUID
    name: str = TAG
    storage: None = None

    async def aapply(self) -> UUID:
        return self.id


class _Runner(Runner):
    """Runs what is due of our deployments."""

    def __init__(self) -> None:
        super().__init__(TAG, query_seconds=_POLL, prefetch_seconds=0, limit=None, pause_on_shutdown=False)

    def handle_sigterm(self, *_: object) -> None:
        """Left to the loop's handler, which is called besides."""

    async def run(self, deployment_ids: Sequence[UUID]) -> None:
        for each in deployment_ids:
            await self.aadd_deployment(_Known(each))  # type: ignore[arg-type]
        await self.start()

    async def end(self) -> None:
        """Cancel what runs, and start no more; called again, cancel what was about to start."""
        if self.started:
            await self.astop()
        elif self.stopping:
            await self.cancel_all()


def run_until_signal(applied: Sequence[Applied], ending: Callable[[], None]) -> None:
    """Run deployments until SIGINT, SIGTERM or SIGHUP; what runs is then cancelled, and closed by itself.

    What is late waits in turn, by the deployment's concurrency limit on the server. The first signal calls
    ``ending``.
    """
    os.environ[FOLDER] = str(here())
    mark_children()
    try:
        asyncio.run(_run([each.id for each in applied], ending))
    except (RuntimeError, httpx.HTTPError, ExceptionGroup) as err:
        cause: Exception = err
        while isinstance(cause, ExceptionGroup):
            cause = cause.exceptions[0]
        raise ExternalError(f"The Prefect server does not answer: {first_line(cause)}", "Start it again.") from err


async def _run(deployment_ids: Sequence[UUID], ending: Callable[[], None]) -> None:
    stop = asyncio.Event()
    began = 0.0

    def end(number: int) -> None:
        """End in good order on the first signal; at once on another one, or when that takes too long."""
        nonlocal began
        if stop.is_set():
            if time.monotonic() - began > _REPEAT_SECONDS:
                os._exit(128 + number)
            return
        began = time.monotonic()
        stop.set()
        ending()
        signals.decide(128 + number, _LAST_SECONDS)

    # A terminal signals every process of its group, and a training that dies of that cannot be cancelled.
    # So this thread, which starts them, blocks these signals, which they inherit; another one takes them.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINAL)
    for number in (*_OF_TERMINAL, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    runner = _Runner()
    running = asyncio.ensure_future(runner.run(deployment_ids))
    waiting: list[asyncio.Future[Any]] = [running, asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    while not running.done():
        await runner.end()
        await asyncio.wait([running], timeout=1)
    await running
