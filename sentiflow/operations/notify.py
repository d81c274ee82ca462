"""Notifications of flow runs that ended."""

import re
import signal
from typing import Any
from uuid import UUID
from zlib import crc32

import httpx
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.logging.loggers import flow_run_logger

from sentiflow import process
from sentiflow.console import Logger
from sentiflow.errors import SentiflowError, first_line
from sentiflow.notifications import addresses, send, wanted
from sentiflow.operations.prefect_server import flow_run_url
from sentiflow.settings import Notification, Settings, load_settings

_NOTIFIED = "sentiflow.notified"  # label of a flow run: the attempt of which all addresses were told
_NOT_SENT = "The notification of %s %s was not sent: %s"
_LONGEST = 500
ENCOUNTERED = re.compile(r"(?:Flow|Task) run encountered an exception:? (\w+): ")


def notify_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notify of a flow run that has ended: the hook of every flow.

    It runs in the flow's own process, or, when that was killed, in the process that watched it. Nothing is sent to
    somebody who pressed Ctrl-C or is refused at a terminal as another process is at work: they know it. Nor is
    anything sent of a run that had nothing to do.
    """
    seen = process.first_signal() == signal.SIGINT or error_of(state) == "BusyError"
    known = (seen and flow_run.deployment_id is None) or state.name == "Skipped"
    notify(flow.name, flow_run, state, flow_run_logger(flow_run, flow), known=known)


def error_of(state: State[Any]) -> str:
    """The class of the exception that ended a flow run; empty without one."""
    found = ENCOUNTERED.match(state.message or "")
    return found[1] if found else ""


def notify(flow: str, flow_run: FlowRun, state: State[Any], logger: Logger, *, known: bool = False) -> None:
    """Send a notification of a flow run's end, if the settings ask for one, once for each attempt of the flow run.

    An attempt whose end is ``known`` is marked as notified, and nothing is sent. What goes wrong is a warning in
    the log and changes nothing.
    """
    what: Notification = "success" if state.is_completed() else "crashed" if state.is_crashed() else "failed"
    try:
        settings = load_settings()
        if not wanted(settings, what) and not (known and what == "crashed"):
            return
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.read_flow_run(flow_run.id)  # who watched it knows it as it was before it began
            if is_notified(flow_run):
                return
            refusal: Notification = "not-reproduced" if flow == "reproduce" else "refused"
            notified = error_of(state) == "RejectedError" and wanted(settings, refusal)  # when it was refused
            to = [] if known or notified else [
                each for each in addresses(settings) if flow_run.labels.get(_label(each)) != flow_run.run_count
            ]  # fmt: skip
            problems: dict[str, str] = {}
            if to:
                text, fields = _message(flow, flow_run, state, _mlflow_url(flow_run.id, settings, logger))
                problems = send(settings, to, what, text, **fields)
            for problem in problems.values():
                logger.warning(_NOT_SENT, flow, flow_run.name, problem)
            # The next housekeeping tries again what did not take it.
            told = [_label(each) for each in to if each not in problems] if problems else [_NOTIFIED]
            if told:
                prefect.update_flow_run_labels(flow_run.id, dict.fromkeys(told, flow_run.run_count))
    except (SentiflowError, OSError, httpx.HTTPError, PrefectException) as err:
        logger.warning(_NOT_SENT, flow, flow_run.name, first_line(err))


def _label(address: str) -> str:
    """Label of a flow run: the attempt of which this address was told, where another one was not."""
    return f"{_NOTIFIED}.{crc32(address.encode()):08x}"


def is_notified(flow_run: FlowRun) -> bool:
    """Whether a notification of the flow run's last attempt was sent."""
    return flow_run.labels.get(_NOTIFIED) == flow_run.run_count


def _message(
    flow: str, flow_run: FlowRun, state: State[Any], mlflow_url: str | None
) -> tuple[str, dict[str, str]]:
    """The line for people, and the fields for programs."""
    url = flow_run_url(str(flow_run.id))
    reason = " ".join(ENCOUNTERED.sub("", state.message or "").split())[:_LONGEST]
    word = (state.name or state.type.value).lower()
    links = {"flow_run_url": url} | ({} if mlflow_url is None else {"mlflow_run_url": mlflow_url})
    fields = {"flow": flow, "flow_run": flow_run.name, "state": state.type.value, "reason": reason, **links}
    return f"{flow} {flow_run.name} {word}. {reason} {url}", fields


def _mlflow_url(flow_run_id: UUID, settings: Settings, logger: Logger) -> str | None:
    """Address of the MLflow run of the flow run's last attempt; the message goes out without it, too."""
    if settings.sqlite_file is not None and not settings.sqlite_file.exists():
        return None
    from sentiflow.store.client import connect, tracking_errors  # MLflow: seconds for `trigger`
    from sentiflow.store.ui import run_url

    try:
        client = connect(settings)
        with tracking_errors(settings.tracking_uri):
            experiment = client.get_experiment_by_name(settings.experiment)
            found = [] if experiment is None else client.search_runs(
                [experiment.experiment_id], f"tags.`prefect.flow_run_id` = '{flow_run_id}'",
                order_by=["attributes.start_time DESC"], max_results=1,
            )  # fmt: skip
            if not found:
                return None
            last = found[0]
            run_id = last.data.tags.get("mlflow.parentRunId", last.info.run_id)
            return run_url(settings, last.info.experiment_id, run_id)
    except (SentiflowError, OSError) as err:
        logger.warning("The notification has no link to MLflow: %s", first_line(err))
        return None
