"""A machine whose name changes between a kill and the next command, and another one with a copy of its folder."""

import random
import re
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
from mlflow.entities import Run

from sentiflow.store.client import connect
from tests.faults.campaign import Case, Red
from tests.faults.kills import start, until_moment
from tests.faults.schedules import IDLE, LONG, QUICK, at_home, begin_training, kill_all, new_runs
from tests.faults.worlds import TRAIN, Worlds, all_runs, check_whole
from tests.namespaces import apart
from tests.polling import until
from tests.scheduled import Home, Scheduled
from tests.world import World, command

NEXT = ("housekeeping", "train", "schedule")  # what comes after the kill


def _under(name: str) -> tuple[str, ...]:
    """The command line on a machine of this name, as a container that was made again sees it."""
    return *apart("--uts"), "sh", "-c", 'hostname "$0" && exec "$@"', name, command()


def renamed(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Kill a training; under another name of the machine it is closed. A copy of its folder closes it not."""
    world, moment = worlds.copy(folder), random.Random(seed).uniform(0, 3)
    before = {run.info.run_id for run in all_runs(connect(world.settings))}
    with at_home(world) as home:
        if NEXT[seed % 3] == "schedule":
            Scheduled(home, *IDLE).until_says("Prefect UI")
            process = begin_training(home, 100, *LONG)[1]
        else:
            process = psutil.Process(start(world, "sentiflow", *TRAIN, *LONG, "--seed", "100").pid)
        until_moment(moment, False, world, process)
        (run,) = new_runs(connect(world.settings), before)
        _left_alone_from_a_copy(home, run)
        kill_all(world)
        told = _closed_under_another_name(home, NEXT[seed % 3], run)
        assert "Left alone" not in told, told
        _is_closed(world, run)
        check_whole(world)
    return {"kills": 1, "looks from a copy": 1}


def _command(home: Home, name: str, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [*_under(name), *arguments], env=home.world.environment(**home.variables, **variables),
        cwd=home.world.root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _left_alone_from_a_copy(home: Home, run: Run) -> None:
    copy = shutil.copytree(
        home.world.root / "data", home.world.root / "copy", ignore=shutil.ignore_patterns("*.db*")
    )
    told = _command(home, "second-machine", "housekeeping", SENTIFLOW_DATA_DIR=str(copy), PREFECT_HOME=str(copy))
    status = connect(home.world.settings).get_run(run.info.run_id).info.status
    assert status == "RUNNING", f"a run that lives was closed from a copy of its folder: {told}"
    assert re.search(rf"Left alone: run {re.escape(str(run.info.run_name))}: it began on ", told), told


def _closed_under_another_name(home: Home, following: str, run: Run) -> str:
    if following == "housekeeping":
        return _command(home, "renamed", following)
    if following == "train":
        return _command(home, "renamed", *TRAIN, *QUICK, "--seed", "101")
    schedule = Scheduled(home, *IDLE, program=_under("renamed"))
    client = connect(home.world.settings)
    until(lambda: client.get_run(run.info.run_id).info.status != "RUNNING", "the killed run to be closed")
    schedule.until_says("Prefect UI")
    schedule.ends(signal.SIGTERM)
    return schedule.output


def _is_closed(world: World, run: Run) -> None:
    closed = connect(world.settings).get_run(run.info.run_id)
    assert closed.info.status == "KILLED", f"the killed run is {closed.info.status}"
    with closing(sqlite3.connect(world.root / "prefect" / "prefect.db")) as database:
        id_ = run.data.tags["prefect.flow_run_id"]
        (state,) = database.execute("SELECT state_type FROM flow_run WHERE id = ?", [id_]).fetchone()
    assert state == "CRASHED", f"its flow run is {state}"


F18 = Case(
    "F18",
    "A training that was killed is closed also under another name of its machine; one that lives is closed from "
    "no copy of its data folder.",
    "A try kills a training, in turn of `sentiflow train` and of `sentiflow schedule`, within 3 s of the start of "
    "its run in MLflow. Then, in a namespace with another host name, in turn `sentiflow housekeeping`, the next "
    "training and the next schedule must close its run in MLflow and in Prefect. Before the kill, `sentiflow "
    "housekeeping` runs under a third name with a copy of the data folder and a Prefect database of its own: it "
    "must leave the run alone, and say where it began. The rest is as in F1.",
    renamed,
    short=3,
    long=20,
    reds=(
        Red(
            "the machine's name decides whose run it is", "sentiflow/locks.py",
            '_SAME = ("id", "inode", "name")', '_SAME = ("host", "id", "inode", "name")',
            "Left alone | the killed run is RUNNING",
        ),
        Red(
            "a copy of a data folder is taken for the folder", "sentiflow/locks.py",
            '_SAME = ("id", "inode", "name")', '_SAME = ("id", "name")', "closed from a copy",
        ),
    ),
)  # fmt: skip
