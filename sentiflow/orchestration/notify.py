"""Notification of flow runs that failed or crashed, by a webhook."""

import base64
import http.client
import json
import re
import signal
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.logging.loggers import flow_run_logger
from pydantic import SecretStr

from sentiflow import process
from sentiflow.console import Logger
from sentiflow.errors import ExternalError, SentiflowError, first_line
from sentiflow.orchestration.server import flow_run_url
from sentiflow.settings import Settings, load_settings
from sentiflow.tracking.client import connect, run_url, tracking_errors

_ATTEMPTS = 3
_PAUSE = 1.0  # seconds before the second attempt; each further one waits twice as long
_TRY_AGAIN = 429


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the message into a GET without it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the answer then counts as an error."""


# urllib logs nothing; httpx and urllib3 put whole addresses into logs.
_OPENER = urllib.request.build_opener(_NoRedirects)


def post(address: SecretStr, message: dict[str, Any], timeout: float) -> None:
    """Send a message as JSON; tried three times when the other side is away or busy.

    Raises:
        ExternalError: it was not taken; the reason names no address.
    """
    request = _request(address.get_secret_value(), json.dumps(message).encode())
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        try:
            with _OPENER.open(request, timeout=timeout):
                return
        except urllib.error.HTTPError as err:
            err.close()
            if last or (err.code < 500 and err.code != _TRY_AGAIN):
                raise ExternalError(f"The webhook answered {err.code}.", "Check SENTIFLOW_NOTIFY_URL.") from None
        except (OSError, http.client.HTTPException, ValueError) as err:
            if last:
                raise ExternalError(
                    f"The webhook does not answer ({_reason(err)}).", "Check SENTIFLOW_NOTIFY_URL."
                ) from None
        time.sleep(_PAUSE * 2**attempt)


def _request(address: str, body: bytes) -> urllib.request.Request:
    """A name and a password in the address go where HTTP has them."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Content-Type": "application/json", "User-Agent": "sentiflow"}
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - http(s), the settings hold it


def _reason(err: Exception) -> str:
    cause = err.reason if isinstance(err, urllib.error.URLError) else err
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__


NOTIFIED = "sentiflow.notified"  # label of flow runs of which a notification was sent
_LONGEST = 500
_ENCOUNTERED = re.compile(r"(?:Flow|Task) run encountered an exception:? (\w+): ")


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notify of a flow run: the hook of every flow, for failures and crashes.

    It runs in the flow's own process, or, when that was killed, in the process that watched it. Nothing is sent to
    somebody who pressed Ctrl-C.
    """
    known = signal.SIGINT in process.received or _was_refused_at_once(flow_run, state)
    notify(flow.name, flow_run, state, flow_run_logger(flow_run, flow), known=known)


def _was_refused_at_once(flow_run: FlowRun, state: State[Any]) -> bool:
    """Whether somebody at a terminal was refused because another process is at work: nothing failed."""
    found = _ENCOUNTERED.match(state.message or "")
    return flow_run.deployment_id is None and found is not None and found[1] == "BusyError"


def notify(flow: str, flow_run: FlowRun, state: State[Any], logger: Logger, *, known: bool = False) -> None:
    """Send a notification to the webhook of the settings, if there is one, once for each flow run.

    A flow run whose failure is ``known`` is marked as notified, and nothing is sent. What goes wrong is a warning
    in the log and changes nothing.
    """
    try:
        settings = load_settings()
        if settings.notify_url is None:
            return
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.read_flow_run(flow_run.id)  # who watched it knows it as it was before it began
            if NOTIFIED in flow_run.labels:
                return
            if not known:
                message = _message(flow, flow_run, state, _mlflow_url(flow_run.id, settings, logger))
                post(settings.notify_url, message, settings.notify_timeout)
            prefect.update_flow_run_labels(flow_run.id, {NOTIFIED: state.type.value})
    except (SentiflowError, OSError, httpx.HTTPError, PrefectException) as err:
        logger.warning("The notification of %s %s was not sent: %s", flow, flow_run.name, first_line(err))


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
            return run_url(settings, found[0].info.experiment_id, found[0].info.run_id) if found else None
    except (SentiflowError, OSError) as err:
        logger.warning("The notification has no link to MLflow: %s", first_line(err))
        return None
