"""A story in three starts: trainings on a schedule, a kill in the middle of one, and what comes of it."""

import json
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from mlflow.entities import Run

from sentiflow.store.client import connect
from tests.polling import until
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import make_world

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

CONFIG = {"recipe": "tutorial", "epochs": 1, "sequence_length": 20, "units": 4}
TRAINING = ("--dataset", "sample", "--train", "every 5s")


def scheduled(home: Home, housekeeping: str) -> Scheduled:
    return Scheduled(home, *TRAINING, config=CONFIG, housekeeping=housekeeping)


def params(seed: int, **config: int) -> list[str]:
    """Of a run that `trigger` starts."""
    return ["--param", f"seed={seed}", "--param", f"config={json.dumps(CONFIG | config)}"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Home:
    made = Home(make_world(tmp_path_factory.mktemp("schedule"), migrated_store), free_port())
    # What a user may have in the current folder, and no run may import in place of ours.
    for name in ("flows/__init__.py", "tasks.py", "sentiflow.py"):
        file = made.world.root / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise ImportError('this is a module of the user')\n")
    return made


@pytest.fixture(scope="module")
def starts(home: Home) -> Iterator[list[Scheduled]]:
    """The processes, the latest last; each test goes on where the one before it ended."""
    begun: list[Scheduled] = []
    yield begun
    for each in begun:
        if each.process.poll() is None:
            each.ends(signal.SIGKILL)


def runs(home: Home) -> list[Run]:
    """MLflow's runs, oldest first."""
    return list(connect(home.world.settings).search_runs(["1"], order_by=["attributes.start_time ASC"]))


def statuses(home: Home) -> list[str]:
    return [run.info.status for run in runs(home)]


def states(home: Home, flow: str) -> list[object]:
    return [run["state_type"] for run in home.flow_runs(flow)]


def due(run: dict[str, object]) -> datetime:
    return datetime.fromisoformat(str(run["expected_start_time"]))


def told_at(run: dict[str, object]) -> datetime:
    """When a run came into its state."""
    return datetime.fromisoformat(str(run["state"]["timestamp"]))  # type: ignore[index]


def test_trainings_fire_on_schedule(home: Home, starts: list[Scheduled]) -> None:
    starts.append(scheduled(home, "off"))
    starts[-1].until_says(f"Prefect UI: http://127.0.0.1:{home.port}")
    told = starts[-1].output
    assert re.search(r"  train +every 5s, next \w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d[05] UTC$", told, re.MULTILINE)
    assert re.search(r"  housekeeping +no schedule$", told, re.MULTILINE)
    until(lambda: "FINISHED" in statuses(home), "a training", 240, lambda: starts[-1].output)
    starts[-1].until_says("Nothing to train: sample-sentiment version 1 has the same recipe")
    first = runs(home)[0]
    assert "deployment train" in first.data.tags["started_by"]
    for flow in ("monitor", "promote", "repeat", "reproduce", "score", "sweep"):
        assert home.deployment(flow), "trigger could not start it"
    home.pause("train")  # the machine is for the other tests


def test_trigger_follows_a_training_to_its_end_and_none_overlap(home: Home, starts: list[Scheduled]) -> None:
    assert home.run("trigger", "train", "--no-wait", *params(1, epochs=300)).returncode == 0
    starts[-1].until_says("epoch 2/300")
    done = home.run("trigger", "train", *params(7, batch_size=64))
    assert done.returncode == 0, done.stderr
    _connecting, first, *lines, last = done.stderr.splitlines()
    assert re.fullmatch(rf"Started train: http://127.0.0.1:{home.port}/v2/runs/flow-run/[0-9a-f-]{{36}}", first)
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d flow +waits: .*", line) for line in lines), "seed 1 runs"
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d task +epoch 1/1: train loss .*", line) for line in lines)
    measured = r"Test accuracy \d\d\.\d\d% \(95% interval \d\d\.\d\d% to \d\d\.\d\d%\)\."
    assert re.fullmatch(rf"Completed\. {measured} Registered as sample-sentiment version \d\.", last)
    (followed,) = (run for run in runs(home) if run.data.params.get("seed") == "7")
    told = {key: followed.data.params[key] for key in ("seed", "batch_size", "units", "recipe")}
    assert told == {"seed": "7", "batch_size": "64", "units": "4", "recipe": "tutorial"}
    until(lambda: statuses(home).count("FINISHED") >= 3, "both trainings", 240, lambda: starts[-1].output)
    ended = [run for run in runs(home) if run.info.status == "FINISHED"]
    for earlier, later in zip(ended, ended[1:], strict=False):
        assert earlier.info.end_time <= later.info.start_time
    assert "Traceback" not in starts[-1].output


def test_a_second_schedule_of_the_same_data_folder_is_refused(home: Home, starts: list[Scheduled]) -> None:
    done = home.run("schedule")
    assert done.returncode == 3
    assert "Another `sentiflow schedule` with this data folder is running: schedule, process" in done.stderr


def test_a_second_schedule_of_another_project_does_not_take_the_server_over(
    home: Home, starts: list[Scheduled], tmp_path: Path
) -> None:
    done = home.world.run("schedule", **home.variables, SENTIFLOW_DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, f"Cannot listen on port {home.port} of" in done.stderr) == (3, True)
    with home.api() as api:
        assert api.get("/health").json() is True, "it is the first one's"


def test_ctrl_c_ends_it_quietly_with_0_and_leaves_nothing_running(home: Home, starts: list[Scheduled]) -> None:
    assert home.run("trigger", "train", "--no-wait", *params(2, epochs=1000)).returncode == 0
    starts[-1].until_says("epoch 2/1000")  # not only that a training runs: one of the schedule may go first
    assert starts[-1].ends(signal.SIGINT) == 0
    assert starts[-1].lines[-1] == "Ended." and "Traceback" not in starts[-1].output
    assert "RUNNING" not in statuses(home)
    assert home.world.processes() == []


def test_what_was_paused_stays_paused_after_a_restart(home: Home, starts: list[Scheduled]) -> None:
    starts.append(scheduled(home, "every 6s"))
    starts[-1].until_says("Prefect UI")
    assert re.search(r"  train +paused in the Prefect UI$", starts[-1].output, re.MULTILINE)
    assert [each["active"] for each in home.deployment("train")["schedules"]] == [False]  # type: ignore[attr-defined]
    assert {"RUNNING", "PENDING", "SCHEDULED", "CANCELLING"}.isdisjoint(states(home, "train"))


def test_killed_in_the_middle_of_a_training_the_next_start_marks_it_and_goes_on(
    home: Home, starts: list[Scheduled]
) -> None:
    done = home.run("trigger", "train", "--no-wait", *params(11, epochs=1000))
    assert (done.returncode, "/runs/flow-run/" in done.stderr) == (0, True)
    starts[-1].until_says("epoch 2/1000")
    starts[-1].until_says("housekeeping +Beginning flow run")
    killed = datetime.now().astimezone()
    os.kill(starts[-1].process.pid, signal.SIGKILL)  # it alone: what it started must end by itself
    starts[-1].process.wait()
    until(lambda: home.world.processes() == [], "what it started to end", 20, lambda: starts[-1].output)
    (run,) = (run for run in runs(home) if run.data.params.get("seed") == "11")
    assert (run.info.status, run.data.tags.get("end")) == ("KILLED", "the schedule that ran it ended")
    # Two slots of housekeeping pass meanwhile.
    until(lambda: (datetime.now().astimezone() - killed).total_seconds() > 13, "two slots")
    starts.append(scheduled(home, "every 6s"))
    starts[-1].until_says("Prefect UI")
    assert "Marked as crashed: tutorial+sequence_length=20+units=4+epochs=1000-sample-seed11" in starts[-1].output
    (crashed,) = (run for run in home.flow_runs("train") if "seed11" in str(run["name"]))
    assert crashed["state_type"] == "CRASHED"


def test_of_what_the_downtime_missed_little_is_made_up_for(home: Home, starts: list[Scheduled]) -> None:
    """One run was planned, one may have waited for its turn, and one may come due while the server starts."""
    (crashed,) = (run for run in home.flow_runs("train") if "seed11" in str(run["name"]))
    restarted = told_at(crashed)

    def missed() -> list[object]:
        """The states of runs that came due before the start and were seen to after it."""
        found = [run for run in home.flow_runs("housekeeping") if due(run) < restarted <= told_at(run)]
        return [run["state_name"] for run in found if run["state_name"] != "Crashed"]

    until(lambda: set(missed()) == {"Completed"}, "catch-up", told=lambda: starts[-1].output)
    assert 1 <= len(missed()) <= 3, missed()
    home.pause("housekeeping")  # the machine is for the other tests


def test_trigger_ends_with_4_when_the_gate_says_no(home: Home, starts: list[Scheduled]) -> None:
    done = home.run("trigger", "promote")  # of a world whose gate asks for more than this model has
    assert done.returncode == 4, done.stderr
    assert "was not promoted: 1 of 3 checks failed (minimum accuracy)" in done.stderr
    assert "Traceback" not in done.stderr
    starts[-1].until_says("Refused.*checks failed")


def test_a_service_manager_ends_it_likewise_and_what_runs_is_cancelled(
    home: Home, starts: list[Scheduled]
) -> None:
    done = home.run("trigger", "train", "--no-wait", *params(12, epochs=1000))
    assert done.returncode == 0, done.stderr
    starts[-1].until_says("epoch 2/1000")
    assert starts[-1].ends(signal.SIGTERM) == 0
    assert starts[-1].lines[-1] == "Ended."
    assert not re.search(r"Traceback|  File ", starts[-1].output)
    assert home.world.processes() == []
    assert statuses(home)[-1] == "KILLED"
    with closing(sqlite3.connect(home.world.root / "prefect" / "prefect.db")) as database:
        ended = database.execute("SELECT state_type FROM flow_run WHERE name LIKE '%seed12%'").fetchall()
    assert ended == [("CANCELLED",)]


@pytest.mark.weekly
def test_two_projects_of_a_user_have_their_own_deployments(migrated_store: Path, tmp_path: Path) -> None:
    """With Prefect's default, a database a user, the second start took the first project's deployments over."""
    user = {"HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / ".prefect")}  # as it is where nothing is set
    homes, begun = [], []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        homes.append(Home(make_world(tmp_path / name, migrated_store), free_port(), user))
        config = {"recipe": "tuned", "epochs": len(homes)}
        begun.append(Scheduled(homes[-1], "--dataset", "sample", config=config))
    try:
        for epochs, (each, running) in enumerate(zip(homes, begun, strict=True), start=1):
            running.until_says("Ctrl-C ends it")
            assert each.deployment("train")["parameters"]["config"]["epochs"] == epochs
            assert (each.world.root / "data" / "prefect" / "prefect.db").exists()
        assert not (tmp_path / ".prefect" / "prefect.db").exists()
    finally:
        for running in begun:
            running.ends(signal.SIGKILL)
