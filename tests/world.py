"""What a test sees of the world: a store and a data folder of its own."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sentiflow.errors import SentiflowError
from sentiflow.settings import Settings

if TYPE_CHECKING:  # Prefect and MLflow are for the processes that run tests, not for the one that deals them out
    from sentiflow.results import TrainingResult

ROOT = Path(__file__).resolve().parents[1]

# A suite that `nohup` or a shell's background job started ignores these, and so would all that it starts.
# What has a handler is not ignored there.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda _number, _frame: None)


@dataclass(frozen=True)
class World:
    """A store and a data folder of a test's own."""

    root: Path

    @property
    def variables(self) -> dict[str, str]:
        return {
            "SENTIFLOW_TRACKING_URI": f"sqlite:///{self.root / 'mlruns' / 'mlflow.db'}",
            "SENTIFLOW_DATA_DIR": str(self.root / "data"),
        }

    @property
    def settings(self) -> Settings:
        return Settings(
            tracking_uri=self.variables["SENTIFLOW_TRACKING_URI"], data_dir=self.variables["SENTIFLOW_DATA_DIR"]
        )

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Make this the world of the settings in this process, until the patch is undone."""
        for name, value in self.variables.items():
            patch.setenv(name, value)

    def run(self, *arguments: str, timeout: float = 200, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line in a process of its own, as a user would, from an unrelated folder."""
        return subprocess.run(
            [command(), *arguments],
            env=self.environment(**variables),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def environment(self, **variables: str) -> dict[str, str]:
        """The test's own variables for a child process; Prefect's server is the tests', if it runs.

        Not the experiment that MLflow's ``set_experiment`` left in this process.
        """
        from prefect.settings import PREFECT_API_URL

        own = {"PREFECT_HOME": str(self.root / "prefect"), "COLUMNS": "160"}
        if server := PREFECT_API_URL.value():
            own["PREFECT_API_URL"] = server
        given = {name: value for name, value in os.environ.items() if name != "MLFLOW_EXPERIMENT_ID"}
        return {**given, **self.variables, **own, **variables}

    def processes(self) -> list[int]:
        """The processes that commands of this world have started and that still run, themselves included."""
        mark = f"SENTIFLOW_DATA_DIR={self.root / 'data'}\0".encode()
        return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if mark in _environment_of(folder)]


def _environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()  # empty for one that has ended and was not waited for
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def refusal(*arguments: str) -> SentiflowError:
    """The error that a command ends with, run in this process."""
    from typer.testing import CliRunner

    from flows.cli.main import application

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.cli.output.set_up", lambda **_: None)
        patch.setenv("PREFECT_CLIENT_MAX_RETRIES", "2")  # `train` sets it, for as long as its process lives
        error = CliRunner().invoke(application(), arguments).exception
    assert isinstance(error, SentiflowError), repr(error)
    return error


def telling_modules(*arguments: str) -> str:
    """Code that runs a command and then prints a JSON list of the top-level modules that it has loaded."""
    return (
        "import json, sys\n"
        f"sys.argv = ['sentiflow', *{list(arguments)!r}]\n"
        "from flows.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))\n"
    )


def command() -> str:
    """The installed console script."""
    return str(Path(sys.executable).with_name("sentiflow"))


def make_world(root: Path, store: Path) -> World:
    """A world with an empty, migrated store."""
    (root / "mlruns").mkdir(parents=True)
    shutil.copyfile(store, root / "mlruns" / "mlflow.db")
    return World(root)


@dataclass(frozen=True)
class Trained:
    """A finished training of the sample."""

    world: World
    result: "TrainingResult"


class Registry:
    """Versions of ``sample-sentiment`` in the store of the fixture ``registry``."""

    GOOD = 1
    POOR = 2
    NEWEST = 3  # as good as GOOD, with mask_zero and another seed


def copy_world(root: Path, source: World) -> World:
    """A world with a copy of another's store and datasets; files of runs and models stay where they are."""
    shutil.copytree(source.root / "data" / "datasets", root / "data" / "datasets")
    return make_world(root, source.root / "mlruns" / "mlflow.db")


def with_own_files(root: Path, world: World, *others: World) -> World:
    """A copy of a world with copies of the files of its runs and models, some of which lie in the other worlds."""
    made = copy_world(root, world)
    with closing(sqlite3.connect(made.root / "mlruns" / "mlflow.db")) as database, database:
        for number, source in enumerate((world, *others)):
            copy = shutil.copytree(source.root / "mlruns", root / "files" / str(number))
            for table, column in _PLACES:
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608
                database.execute(change, (str(source.root / "mlruns"), str(copy)))
    return made


_PLACES = [
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
    ("model_versions", "source"), ("model_versions", "storage_location"),
]  # fmt: skip
