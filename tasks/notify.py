"""Tell a webhook of flow runs that failed or crashed."""

import re
import signal
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.logging.loggers import flow_run_logger

from sentiment.errors import SentiflowError
from sentiment.settings import Settings, load_settings
from tasks import interrupts
from tasks.loggers import Logger
from tasks.provenance import flow_run_url
from tasks.registry import run_url
from tasks.tracking import connect, tracking_errors
from tasks.webhook import post

TOLD = "sentiflow.notified"  # label of flow runs that the webhook knows of
_LONGEST = 500
_ENCOUNTERED = re.compile(r"(?:Flow|Task) run encountered an exception:? (\w+): ")


def failed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell of a flow run: the hook of every flow, for failures and crashes.

    It runs in the flow's own process, or, when that was killed, in the process that watched it. Who pressed Ctrl-C
    needs no telling.
    """
    known = signal.SIGINT in interrupts.received or _was_refused_at_once(flow_run, state)
    tell(flow.name, flow_run, state, flow_run_logger(flow_run, flow), known=known)


def _was_refused_at_once(flow_run: FlowRun, state: State[Any]) -> bool:
    """Whether somebody at a terminal was told that another process is at work: nothing failed."""
    found = _ENCOUNTERED.match(state.message or "")
    return flow_run.deployment_id is None and found is not None and found[1] == "BusyError"


def tell(flow: str, flow_run: FlowRun, state: State[Any], logger: Logger, *, known: bool = False) -> None:
    """Tell the webhook of the settings, if there is one and it was not told of this flow run before.

    What goes wrong is a warning in the log and changes nothing. What is ``known`` is noted as told.
    """
    try:
        settings = load_settings()
        if settings.notify_url is None:
            return
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.read_flow_run(flow_run.id)  # who watched it knows it as it was before it began
            if TOLD in flow_run.labels:
                return
            if not known:
                message = _message(flow, flow_run, state, _mlflow_url(flow_run.id, settings, logger))
                post(settings.notify_url, message, settings.notify_timeout)
            prefect.update_flow_run_labels(flow_run.id, {TOLD: state.type.value})
    except (SentiflowError, OSError, httpx.HTTPError, PrefectException) as err:
        logger.warning("Could not tell the webhook of %s %s: %s", flow, flow_run.name, _first_line(err))


def _message(flow: str, flow_run: FlowRun, state: State[Any], mlflow_url: str | None) -> dict[str, str]:
    url = flow_run_url(str(flow_run.id))
    reason = " ".join(_ENCOUNTERED.sub("", state.message or "").split())[:_LONGEST]
    word = (state.name or state.type.value).lower()
    links = {"flow_run_url": url} | ({} if mlflow_url is None else {"mlflow_run_url": mlflow_url})
    return {
        "text": f"Sentiflow: {flow} {flow_run.name} {word}. {reason} {url}",
        "flow": flow,
        "flow_run": flow_run.name,
        "state": state.type.value,
        "message": reason,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **links,
    }


def _mlflow_url(flow_run_id: UUID, settings: Settings, logger: Logger) -> str | None:
    """Address of the MLflow run that belongs to the flow run; the message goes out without it, too."""
    if settings.sqlite_file is not None and not settings.sqlite_file.exists():
        return None
    try:
        client = connect(settings)
        with tracking_errors(settings.tracking_uri):
            experiment = client.get_experiment_by_name(settings.experiment)
            found = [] if experiment is None else client.search_runs(
                [experiment.experiment_id], f"tags.`prefect.flow_run_id` = '{flow_run_id}'",
                order_by=["attributes.start_time ASC"], max_results=1,
            )  # fmt: skip
            return run_url(client, settings, found[0].info.run_id) if found else None
    except (SentiflowError, OSError) as err:
        logger.warning("The notification goes without a link to MLflow: %s", _first_line(err))
        return None


def _first_line(err: Exception) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0]
