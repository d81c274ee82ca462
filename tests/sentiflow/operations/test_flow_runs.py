import tempfile
from pathlib import Path

import psutil
import pytest

from sentiflow import folder
from sentiflow.operations.flow_runs import job
from tests.world import World


@job()
def where() -> str:
    return str(folder.here())


def test_a_run_works_in_the_folder_of_prefects_worker(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiflow.operations.flow_runs.by_deployment", lambda: True)
    with tempfile.TemporaryDirectory(suffix="prefect") as removed:
        monkeypatch.chdir(removed)
        monkeypatch.setenv(folder.VARIABLE, "")  # so that it is unset at the end
        monkeypatch.delenv(folder.VARIABLE)
        parent = psutil.Process().parent()
        assert parent is not None and where() == parent.cwd()
        assert Path.cwd() == Path(removed)  # where nothing lies that a library could obey
        monkeypatch.chdir(world.root)
