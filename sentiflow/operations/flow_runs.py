"""Prefect's flow runs: started, found, marked as crashed, deleted; messages of their ends, and of late ones."""

import logging
import re
import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.logging.loggers import flow_run_logger
from prefect.states import Crashed

from sentiflow import signals
from sentiflow.console import Logger
from sentiflow.errors import SentiflowError, UsageError, first_line
from sentiflow.notifications import as_apprise, send, wanted
from sentiflow.operations.deployments import TAG
from sentiflow.operations.prefect_server import flow_run_url
from sentiflow.settings import Notification, Settings, load_settings
from sentiflow.store.records import ATTEMPT

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

BEGUN = (StateType.RUNNING, StateType.CANCELLING)
ANSWERED = ("Refused", "Declined", "Waits")  # final states of a promotion that has sent a message of its own
_NOTIFIED = "sentiflow.notified"  # label of a flow run: the last attempt whose end was sent
_NOT_SENT = "The notification of %s %s was not sent: %s"
_LONGEST = 1_000
ENCOUNTERED = re.compile(r"(?:Flow|Task) run encountered an exception:? (\w+): ")

ALARM = "sentiflow: no worker takes a run"
_PATIENCE = timedelta(minutes=10)
_LATE = (
    "Sentiflow: {{ flow.name }} {{ flow_run.name }} is late, and no worker has taken it. Does a worker run? "
    "{{ flow_run|ui_url or '' }}"
)
# What happens to a run that is not left alone.
_TAKEN = ("Pending", "Running", "AwaitingConcurrencySlot", "Cancelling", "Cancelled", "Crashed", "Failed")

R = TypeVar("R")


def start(client: SyncPrefectClient, deployment: DeploymentResponse, parameters: dict[str, Any]) -> FlowRun:
    """Start a run of a deployment now, with the deployment's parameters but for these."""
    known = (deployment.parameter_openapi_schema or {}).get("properties", {})
    if unknown := parameters.keys() - known:  # the server takes these
        has = ", ".join(known) or "none"
        raise UsageError(f"This flow has no parameter {min(unknown)!r}.", f"It has: {has}.")
    try:
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    except PrefectHTTPStatusError as err:
        if err.response.status_code not in (409, 422):
            raise
        detail = err.response.json().get("detail", err)
        raise UsageError(f"The parameters are refused: {detail}") from err


def names(client: SyncPrefectClient) -> list[str]:
    """The flows that have a deployment of ours."""
    found = client.read_deployments(deployment_filter=filters.DeploymentFilter(tags={"all_": [TAG]}))
    return sorted(client.read_flow(each.flow_id).name for each in found)


def find(prefect: SyncPrefectClient, flow_run_id: str | None) -> FlowRun | None:
    """A flow run, or None when this server has no such."""
    if flow_run_id is None:
        return None
    try:
        return prefect.read_flow_run(UUID(flow_run_id))
    except (ObjectNotFound, ValueError):  # another server's, or a tag that somebody wrote by hand
        return None


def _all(read: Callable[..., list[R]], **wanted: Any) -> list[R]:
    """What a method of the client finds, on all pages; Prefect's server sets how much one holds."""
    found: list[R] = []
    while page := read(offset=len(found), **wanted):
        found += page
    return found


def search(prefect: SyncPrefectClient, **wanted: Any) -> list[FlowRun]:
    """All runs of our flows, on a server that others may use, by fields of a ``FlowRunFilter``, oldest first."""
    found = {
        each.id: each
        for ours in ({"flow_version": {"any_": [TAG]}}, {"tags": {"all_": [TAG]}})
        for each in _all(prefect.read_flow_runs, flow_run_filter=filters.FlowRunFilter(**wanted | ours))
    }
    return sorted(found.values(), key=lambda each: str(each.expected_start_time))


def of_deployments(prefect: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> list[FlowRun]:
    """Runs of deployments that have begun and not ended; one that a person suspended has no process to end."""
    begun = {"type": {"any_": [StateType.PENDING, StateType.PAUSED, *BEGUN]}}
    wanted = filters.FlowRunFilter(deployment_id={"any_": list(deployment_ids)}, state=begun)
    found = _all(prefect.read_flow_runs, flow_run_filter=wanted)
    return [each for each in found if not (each.state and each.state.state_details.pause_reschedule)]


def close_orphaned(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> list[FlowRun]:
    """Mark the runs of a killed schedule as crashed, which frees their places at once; gives them."""
    begun = of_deployments(client, deployment_ids)
    for run in begun:
        crash(client, run, "Its process was killed; closed by the next `sentiflow schedule`.")
    return begun


def crash(prefect: SyncPrefectClient, flow_run: FlowRun, message: str, attempt: str | None = None) -> None:
    """Mark a flow run whose process was killed, and its tasks, as crashed, and notify of it.

    One that has a final state keeps it; its tasks, which Prefect leaves running, are closed all the same. If it
    was started again since that ``attempt``, only the tasks that the attempt began are marked.
    """
    end: State[Any] = Crashed(message=message)
    if attempt is not None and _was_retried(flow_run, attempt):
        close_tasks(prefect, flow_run, end, attempt)
        return
    state = flow_run.state
    if state is None or not state.is_final():
        prefect.set_flow_run_state(flow_run.id, end, force=True)
        state = end
    close_tasks(prefect, flow_run, end)
    if state.is_crashed():
        notify(prefect.read_flow(flow_run.flow_id).name, flow_run, state, logger)


def _was_retried(flow_run: FlowRun, attempt: str) -> bool:
    """Whether a flow run waits for another attempt than this one, or is in it; Prefect counts those that run."""
    state = flow_run.state
    if state is None or state.is_final():
        return False
    return state.is_scheduled() or state.is_pending() or attempt != str(flow_run.run_count)


def crash_flow_run(run: "Run", why: str) -> None:
    """Mark the flow run of a run of MLflow as crashed, if the server knows it and it was not started again."""
    with get_client(sync_client=True) as prefect:
        flow_run = find(prefect, run.data.tags.get("prefect.flow_run_id"))
        if flow_run is not None:
            crash(prefect, flow_run, why, run.data.tags.get(ATTEMPT))


def close_tasks(prefect: SyncPrefectClient, run: FlowRun, end: State[Any], attempt: str | None = None) -> None:
    """Give the unfinished tasks of a flow run, or those that one attempt began, their final state."""
    unfinished = [each for each in StateType if each not in TERMINAL_STATES]
    for task_run in _all(
        prefect.read_task_runs, flow_run_filter=filters.FlowRunFilter(id={"any_": [run.id]}),
        task_run_filter=filters.TaskRunFilter(state={"type": {"any_": unfinished}, "name": None}),
    ):  # fmt: skip
        if attempt in (None, str(task_run.flow_run_run_count)):
            prefect.set_task_run_state(task_run.id, end, force=True)


def notify_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notify of a flow run that has ended: the hook of every flow.

    It runs in the flow's own process, or, when that was killed, in the process that watched it. Nothing is sent to
    somebody who pressed Ctrl-C or is refused at a terminal as another process is at work: they know it. Nor is
    anything sent of a run that had nothing to do, or of a promotion that sent its answer.
    """
    seen = signals.first_signal() == signal.SIGINT or error_of(state) == "BusyError"
    if not (seen and flow_run.deployment_id is None) and state.name not in ("Skipped", *ANSWERED):
        notify(flow.name, flow_run, state, flow_run_logger(flow_run, flow))


def error_of(state: State[Any]) -> str:
    """The class of the exception that ended a flow run; empty without one."""
    found = ENCOUNTERED.match(state.message or "")
    return found[1] if found else ""


def notify(flow: str, flow_run: FlowRun, state: State[Any], logger: Logger) -> None:
    """Send a notification of a flow run's end, if the settings ask for one, once for each attempt of the flow run.

    What goes wrong is a warning in the log and changes nothing.
    """
    what: Notification = "success" if state.is_completed() else "crashed" if state.is_crashed() else "failed"
    try:
        if not wanted(settings := load_settings(), what):
            return
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.read_flow_run(flow_run.id)  # who watched it knows it as it was before it began
            if flow_run.labels.get(_NOTIFIED) == flow_run.run_count:  # its own process did, too
                return
            text, fields = _message(flow, flow_run, state)
            for problem in send(settings, what, text, **fields):
                logger.warning(_NOT_SENT, flow, flow_run.name, problem)
            prefect.update_flow_run_labels(flow_run.id, {_NOTIFIED: flow_run.run_count})
    except (SentiflowError, OSError, httpx.HTTPError, PrefectException) as err:
        logger.warning(_NOT_SENT, flow, flow_run.name, first_line(err))


def _message(flow: str, flow_run: FlowRun, state: State[Any]) -> tuple[str, dict[str, str]]:
    """The line for people, and the fields for programs."""
    url = flow_run_url(str(flow_run.id))
    reason = " ".join(ENCOUNTERED.sub("", state.message or "").split())[:_LONGEST]
    word = (state.name or state.type.value).lower()
    fields = {"flow": flow, "flow_run": flow_run.name, "state": state.type.value, "reason": reason}
    return f"{flow} {flow_run.name} {word}. {reason} {url}", {**fields, "flow_run_url": url}


def write_alarm(client: SyncPrefectClient, settings: Settings, patience: timedelta = _PATIENCE) -> bool:
    """Write an alarm of the server's own for runs that no worker takes: a worker that died cannot send one.

    It is removed where the settings want none; what is paused stays paused.
    """
    from prefect.blocks.notifications import SlackWebhook
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    existing = client.read_automations_by_name(ALARM)
    for each in existing:
        client.delete_automation(each.id)
    if not wanted(settings, "late"):
        return False
    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.Late"},
        expect={f"prefect.flow-run.{state}" for state in _TAKEN},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=patience,
    )
    # Prefect keeps a block encrypted; what is no address of Slack's, this one leaves to Apprise.
    blocks = [
        SlackWebhook(url=url).save(f"sentiflow-{number}", overwrite=True)
        for number, url in enumerate(as_apprise(settings, "late"), 1)
    ]
    actions = [SendNotification(block_document_id=each, subject="Sentiflow", body=_LATE) for each in blocks]
    enabled = all(each.enabled for each in existing)
    client.create_automation(AutomationCore(name=ALARM, trigger=trigger, actions=actions, enabled=enabled))
    return True
