import tempfile
from pathlib import Path

import psutil
import pytest

from sentiflow import folder
from sentiflow.errors import UsageError
from sentiflow.operations import flow_runs
from sentiflow.operations.flow_runs import job
from tests.world import World


@job()
def where() -> str:
    return str(folder.here())


def test_a_run_works_in_the_folder_of_prefects_worker_and_not_in_one_that_is_removed(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment's")
    with tempfile.TemporaryDirectory(suffix="prefect") as removed:
        monkeypatch.chdir(removed)
        monkeypatch.setenv(folder.VARIABLE, "")  # so that it is unset at the end
        monkeypatch.delenv(folder.VARIABLE)
        parent = psutil.Process().parent()
        assert parent is not None and where() == parent.cwd()
        assert Path.cwd() == Path(removed)  # where nothing lies that a library could obey
        monkeypatch.delenv(folder.VARIABLE)
        monkeypatch.setenv("SENTIFLOW_DATA_DIR", "data")
        for unknown in (None, removed):
            monkeypatch.setattr(flow_runs, "_folder_of_parent", lambda known=unknown: known)
            with pytest.raises(UsageError, match="a folder that Prefect's worker removes"):
                where()
        monkeypatch.chdir(world.root)
