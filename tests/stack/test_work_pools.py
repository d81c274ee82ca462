"""The flows deployed to work pools by the files of the project, as a person types it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL

from flows.schedules import FILE, deployments
from sentiflow.settings import Settings
from tests.world import ROOT

pytestmark = pytest.mark.story

ENTRIES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["deployments"]
# The type "process" is the schedule guide's.
DOCKER = ["--type", "docker", "--base-job-template", "stack/docker-pool.json"]


def run(folder: Path, program: str, *words: str, code: int = 0, **variables: str) -> str:
    own = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(folder)}
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *words], cwd=ROOT, env={**os.environ, **own, **variables},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def read(client: SyncPrefectClient, entry: dict[str, Any]) -> DeploymentResponse:
    return client.read_deployment_by_name(f"{entry['name']}/{entry['name']}")


def test_prefect_makes_a_pool_of_each_type_and_deploys_the_file(client: SyncPrefectClient, tmp_path: Path) -> None:
    with (tmp_path / "pool.json").open("w") as file:
        subprocess.run([sys.executable, ROOT / "stack" / "kubernetes_pool.py"], check=True, stdout=file)
    pods = ["--type", "kubernetes", "--base-job-template", file.name]
    for name, options in (("pods", pods), ("sentiflow", DOCKER)):
        run(tmp_path, "prefect", "--no-prompt", "work-pool", "create", name, *options)
    told = run(tmp_path, "prefect", "--no-prompt", "deploy", "--all")
    assert "Unable to" not in told and "not found" not in told, told
    for entry in ENTRIES:
        made = read(client, entry)
        assert (made.work_pool_name, made.entrypoint) == ("sentiflow", entry["entrypoint"])
        assert made.parameters == entry.get("parameters", {})
        assert (made.description, made.tags) == (entry["description"], ["sentiflow"])
        assert (made.pull_steps or [], made.job_variables) == ([], {})
        assert not made.paused and made.enforce_parameter_schema
        assert [(each.slug, each.schedule) for each in made.schedules if each.active] == [
            ("sentiflow", CronSchedule(cron=each["cron"], timezone=each["timezone"]))
            for each in entry.get("schedules", [])
        ]
        limit = made.global_concurrency_limit and made.global_concurrency_limit.limit
        assert limit == entry.get("concurrency_limit")


def test_the_stack_registers_them_with_the_schedules_of_the_settings(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    given = {"SENTIFLOW_SCHEDULE_TRAIN": "every 6h", "SENTIFLOW_SCHEDULE_DATASET": "sample"}
    assert "no work pool 'team'" in run(tmp_path, "sentiflow", "schedule", "--pool", "team", code=2)
    run(tmp_path, "prefect", "--no-prompt", "work-pool", "create", "team", *DOCKER)
    told = run(tmp_path, "sentiflow", "schedule", "--pool", "team", **given)
    assert "every 6h, next" in told
    for spec in deployments(Settings(_env_file=None, schedule_train="every 6h", schedule_dataset="sample")):
        made = client.read_deployment_by_name(spec.full_name)
        assert (made.work_pool_name, made.parameters, made.path) == ("team", spec.parameters, None)
        assert [each.schedule for each in made.schedules] == ([spec.schedule] if spec.schedule else [])
