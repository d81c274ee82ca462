import logging
import tempfile
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect import runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogWorker

from sentiflow.environment import FOLDER, here
from sentiflow.operations.job import job
from tests.world import World


@job()
def where() -> str:
    return str(here())


def test_a_run_works_in_the_folder_of_prefects_worker(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiflow.operations.job.by_deployment", lambda: True)
    with tempfile.TemporaryDirectory(suffix="prefect") as removed:
        monkeypatch.chdir(removed)
        monkeypatch.setenv(FOLDER, "")  # so that it is unset at the end
        monkeypatch.delenv(FOLDER)
        parent = psutil.Process().parent()
        assert parent is not None and where() == parent.cwd()
        assert Path.cwd() == Path(removed)  # where nothing lies that a library could obey
        monkeypatch.chdir(world.root)


@task
def says() -> None:
    logging.getLogger("sentiflow.data").info("in a task")


@job()
def talks() -> str:
    logging.getLogger("sentiflow.locks").warning("in a flow")
    logging.getLogger("sentiflow.locks").debug("for nobody")
    says()
    return str(runtime.flow_run.id)


def test_lines_of_the_library_are_on_the_page_of_their_run(
    prefect_server: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Red if Prefect's page of a training was empty, or had each line twice."""
    mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(talks())]))
    APILogWorker.drain_all()
    with get_client(sync_client=True) as client:
        found = {line.message: (line.level, line.task_run_id is not None) for line in client.read_logs(mine)}
        assert len([line for line in client.read_logs(mine) if line.message == "in a task"]) == 1
    ours = {name: found[name] for name in ("in a flow", "in a task")}
    assert ours == {"in a flow": (logging.WARNING, False), "in a task": (logging.INFO, True)}
    assert "for nobody" not in found
    names = {line.getMessage(): getattr(line, "task_run_name", line.name) for line in caplog.records}
    assert names["in a flow"] == "prefect.flow_runs" and names["in a task"].startswith("says")


def test_lines_outside_of_a_run_go_where_they_went(prefect_server: None, caplog: pytest.LogCaptureFixture) -> None:
    talks()
    caplog.clear()
    logging.getLogger("sentiflow.locks").warning("of no run")
    assert [(line.name, line.getMessage()) for line in caplog.records] == [("sentiflow.locks", "of no run")]
