"""What all our flows share: how they begin and end, their log lines, and what started them for the library."""

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Flow, get_run_logger, runtime
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed

from sentiflow import signals
from sentiflow.children import end_with_schedule
from sentiflow.console import outlive_readers
from sentiflow.environment import FOLDER
from sentiflow.operations.deployments import TAG
from sentiflow.operations.flow_runs import crash_flow_run, notify_end
from sentiflow.operations.prefect_server import flow_run_url, lasting_api_url
from sentiflow.settings import load_settings
from sentiflow.store.records import ATTEMPT
from sentiflow.training.context import Started

if TYPE_CHECKING:
    from mlflow.entities import Run

_LINK = "The run in MLflow: its curves, parameters, metrics and files, the report among them"

P = ParamSpec("P")
R = TypeVar("R")


class _Job(Flow[P, R]):
    """A flow that sends no heartbeats when it is called: Prefect waits a second for the end of their thread."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return super().__call__(*args, **kwargs)


def job(named: Callable[[dict[str, Any], str], str] | None = None) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Prefect's ``flow``, with what all our flows share.

    They end with the schedule, their ends are notified, and the result's ``summary`` becomes the message of the
    flow run's final state, its ``state_name`` the name. ``named`` gives the name of a run, from its parameters and
    the moment that it is due.
    """

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        @wraps(function)
        def summarized(*args: P.args, **kwargs: P.kwargs) -> R:
            collect_logs()
            ours = by_deployment() or signals.abandons_threads()  # else the process is a program of the user's
            if ours and threading.current_thread() is threading.main_thread():
                signals.listen()
            if by_deployment():
                outlive_readers()
                _find_folder()
            try:
                result = function(*args, **kwargs)
            except Exception:
                signals.stop_if_asked()  # native code and pydantic make errors of what a signal raises
                raise
            summary = getattr(result, "summary", None)
            if summary is None:
                return result
            # Called by hand, a flow that returns a state gives the state's data.
            name = getattr(result, "state_name", None)
            return cast("R", Completed(message=summary, data=result, name=name))

        return _Job(
            summarized,
            version=TAG,
            flow_run_name=None if named is None else lambda: named(runtime.flow_run.parameters, _due()),
            persist_result=False, on_running=[end_with_schedule], on_completion=[notify_end],
            on_failure=[notify_end], on_crashed=[notify_end],
        )  # fmt: skip

    return decorate


def by_deployment() -> bool:
    """Whether this flow run is a deployment's; ``runtime.deployment`` waits for ever without a free thread."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


def _find_folder() -> None:
    """Take relative paths from where the worker was started: it removes a run's own folder with all in it."""
    here = Path.cwd()
    is_removed = here.parent == Path(tempfile.gettempdir()).resolve() and here.name.endswith("prefect")
    if is_removed and FOLDER not in os.environ:
        os.environ[FOLDER] = str(Path(f"/proc/{os.getppid()}/cwd").readlink())


def _due() -> str:
    """The moment that the current flow run is due, as it ends the names of runs."""
    return f"{runtime.flow_run.scheduled_start_time:%y%m%d-%H%M%S}"


@dataclass(frozen=True)
class FlowRunStarted(Started):
    """The start of a flow run, by a person or a deployment."""

    flow_run_id: str = ""
    attempt: int = 1
    url: str = ""
    """Of its page, unless only a temporary server has it."""

    def tags(self) -> dict[str, str]:
        return {
            "prefect.flow_run_id": self.flow_run_id,
            "prefect.flow_run_name": self.name,
            ATTEMPT: str(self.attempt),
            **({"prefect.flow_run_url": self.url} if self.url else {}),
        }

    def publish(self, text: str, url: str, key: str, about: str) -> None:
        create_markdown_artifact(text, key=key, description=about)
        create_link_artifact(url, link_text=f"MLflow run {self.name}", key="mlflow-run", description=_LINK)

    def crash(self, run: "Run", why: str) -> None:
        crash_flow_run(run, why)


def this_flow_run() -> Started:
    flow_run, flow_run_id, deployment = runtime.flow_run, str(runtime.flow_run.id), runtime.deployment.name
    return FlowRunStarted(
        str(flow_run.name), f"flow {flow_run.flow_name}",
        f"deployment {deployment}" if deployment else "by hand",
        load_settings().lock_timeout if runtime.deployment.id else 0.0,
        flow_run_id, flow_run.run_count,
        url=flow_run_url(flow_run_id) if lasting_api_url() else "",
    )  # fmt: skip


class _OfRun(logging.Handler):
    """Makes a line one of Prefect's logger of the run, if there is one; what prints lines comes after it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            run = get_run_logger()
        except MissingContextError:
            return
        if isinstance(run, logging.LoggerAdapter):
            record.name = run.logger.name
            vars(record).update({**(run.extra or {}), **vars(record)})
            for handler in run.logger.handlers:
                handler.handle(record)


_HANDLER = _OfRun()


def collect_logs() -> None:
    """Let Prefect have the library's log lines, as those of loggers that ``PREFECT_LOGGING_EXTRA_LOGGERS`` names.

    That setting itself is read before the process of a worker imports any code of ours.
    """
    ours = logging.getLogger("sentiflow")
    ours.addHandler(_HANDLER)
    ours.setLevel(logging.getLogger("prefect").getEffectiveLevel())
