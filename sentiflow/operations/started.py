"""What started a flow run of Prefect's, as the library keeps it."""

import logging
from dataclasses import dataclass

from mlflow.entities import Run
from prefect import runtime
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.orchestration import get_client

from sentiflow.operations import flow_runs
from sentiflow.operations.prefect_server import flow_run_url, lasting_api_url
from sentiflow.settings import load_settings
from sentiflow.store.records import ATTEMPT
from sentiflow.training.started import Started

logger = logging.getLogger(__name__)

_LINK = "The run in MLflow: its curves, parameters, metrics and files, the report among them"


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

    def crash(self, run: Run, why: str) -> None:
        crash_flow_run(run, why)


def this_flow_run() -> Started:
    """What started the current flow run."""
    flow_run, flow_run_id, deployment = runtime.flow_run, str(runtime.flow_run.id), runtime.deployment.name
    return FlowRunStarted(
        str(flow_run.name), f"flows/{flow_run.flow_name}.py",
        f"deployment {deployment}" if deployment else "by hand",
        load_settings().lock_timeout if runtime.deployment.id else 0.0,
        flow_run_id, flow_run.run_count,
        url=flow_run_url(flow_run_id) if lasting_api_url() else "",
    )  # fmt: skip


def crash_flow_run(run: Run, why: str) -> None:
    """Mark the flow run of a run of MLflow as crashed, if the server knows it and it was not started again."""
    with get_client(sync_client=True) as prefect:
        flow_run = flow_runs.find(prefect, run.data.tags.get("prefect.flow_run_id"))
        if flow_run is not None:
            flow_runs.crash(prefect, flow_run, why, logger, run.data.tags.get(ATTEMPT))
