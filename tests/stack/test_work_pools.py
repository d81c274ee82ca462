"""The flows deployed to work pools by the files of the project, as a person types it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import Automation, EventTrigger
from prefect.settings import PREFECT_API_URL

from flows.deployments import deployments
from sentiflow.orchestration.deployments import as_prefect
from sentiflow.settings import Settings
from tests.world import ROOT

pytestmark = pytest.mark.story


def prefect(folder: Path, *words: str) -> str:
    program = Path(sys.executable).with_name("prefect")
    own = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(folder)}
    done = subprocess.run(
        [program, "--no-prompt", *words], cwd=ROOT, env={**os.environ, **own},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("pool", "kind", "file"),
    [
        ("sentiflow", ["--type", "process"], "prefect.yaml"),
        ("sentiflow-docker", ["--type", "docker"], "stack/prefect-docker.yaml"),
        (
            "sentiflow-kubernetes",
            ["--type", "kubernetes", "--base-job-template", "stack/kubernetes-pool.json"],
            "stack/prefect-kubernetes.yaml",
        ),
    ],
)
def test_the_file_deploys_every_flow_as_the_table_has_it(
    pool: str, kind: list[str], file: str, prefect_server: None, tmp_path: Path
) -> None:
    prefect(tmp_path, "work-pool", "create", pool, *kind)
    told = prefect(tmp_path, "deploy", "--all", "--prefect-file", file)
    assert "Unable to" not in told and "not found" not in told, told
    with get_client(sync_client=True) as client:
        for spec in deployments(Settings(_env_file=None)):
            made = client.read_deployment_by_name(spec.full_name)
            assert (made.work_pool_name, made.entrypoint, made.parameters) == (
                pool,
                spec.entrypoint,
                spec.parameters,
            )
            assert (made.description, made.tags, made.pull_steps or []) == (spec.description, list(spec.tags), [])
            assert not made.paused and made.enforce_parameter_schema
            wanted = [] if spec.schedule is None else [as_prefect(spec.schedule, spec.flow)]
            assert [each.schedule for each in made.schedules if each.active] == wanted, spec.flow
            limit = made.global_concurrency_limit and made.global_concurrency_limit.limit
            assert limit == spec.concurrency_limit
            automations = client.read_resource_related_automations(f"prefect.deployment.{made.id}")
            assert [_starts_on(each) for each in automations] == [
                ({trigger.event}, {"prefect.resource.id": trigger.resource}, [trigger.parameters])
                for trigger in spec.triggers
            ]
            client.delete_deployment(made.id)


def _starts_on(automation: Automation) -> tuple[Any, ...]:
    trigger = automation.trigger
    assert isinstance(trigger, EventTrigger)
    parameters = [action.parameters for action in automation.actions if isinstance(action, RunDeployment)]
    return trigger.expect, trigger.match.model_dump(), parameters
