"""Schedules that are killed, stopped for a while, asked often, and in competition with others."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psutil
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from sentiflow.store.client import connect
from tests.faults.campaign import Case, Red
from tests.faults.kills import run_open, start, until_moment
from tests.faults.worlds import NAME, TRAIN, Worlds, all_runs, check_whole
from tests.mlflow_store import versions_of
from tests.polling import until
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import World

TRAINING = ("--dataset", "sample", "--recipe", "tutorial", "--set", "sequence_length=40")
IDLE = (*TRAINING, "--train", "off", "--housekeeping", "off")
LONG = ("--set", "epochs=1000")
QUICK = ("--set", "epochs=1")
_OPEN = ("PENDING", "RUNNING", "CANCELLING", "PAUSED")

# `sentiflow trigger`, several times in one process.
TRIGGERS = """
from flows.cli import application
for each in {commands!r}:
    try:
        application()(["trigger", *each, "--no-wait"])
    except SystemExit as end:
        if end.code:
            raise
"""


@contextmanager
def at_home(world: World, **more: str) -> Iterator[Home]:
    """A world with a port for a schedule's server; all of its processes are gone afterwards."""
    try:
        yield Home(world, free_port(), more)
    finally:
        kill_all(world)


def kill_all(world: World) -> None:
    """Stop all processes of a world, so that none answers another's death, and kill them."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in world.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    until(lambda: not world.processes(), "killed processes to end")


def _trigger(home: Home, *commands: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIGGERS.format(commands=commands)], cwd=home.world.root, capture_output=True,
        env=home.world.environment(**home.variables), text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _process_of(world: World, flow_run_id: object) -> psutil.Process | None:
    """The process of a flow run."""
    for pid in world.processes():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if (
                process.environ().get("PREFECT__FLOW_RUN_ID") == flow_run_id
                and "prefect.engine" in process.cmdline()
            ):
                return process
    return None


def begin_training(home: Home, seed: int, *more: str) -> tuple[dict[str, Any], psutil.Process]:
    """Trigger a training; gives its flow run and its process, which has just begun."""
    _trigger(home, ("train", "--seed", str(seed), *more))
    flow_run: dict[str, Any] = home.flow_runs("train")[-1]
    process = until(lambda: _process_of(home.world, flow_run["id"]), "the process of a flow run", 120)
    return flow_run, process


def _state(home: Home, flow_run: dict[str, Any]) -> str:
    found = next(each for each in home.flow_runs("train") if each["id"] == flow_run["id"])
    return str(found["state_type"])


def _left_open(home: Home) -> list[object]:
    """Runs of MLflow, flow runs and task runs that say that they run."""
    wanted = {"state": {"type": {"any_": _OPEN}}}
    with home.api() as api:
        tasks = api.post("/task_runs/filter", json={"task_runs": wanted}).raise_for_status().json()
        flows = api.post("/flow_runs/filter", json={"flow_runs": wanted}).raise_for_status().json()
    runs = [run.info.run_name for run in all_runs(connect(home.world.settings)) if run.info.status == "RUNNING"]
    return [*runs, *(each["name"] for each in [*flows, *tasks])]


DOWN, LONG_DOWN = 5, 240  # seconds between the kill and the next start
EARLY = 0.3  # share of the kills before there is a run in MLflow


def all_killed(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Kill schedule, server and training together; the next start tells the truth and trains."""
    random_, quick = random.Random(seed), seed % 2 == 1
    down = LONG_DOWN if seed % 10 in (3, 6, 9) else DOWN
    with at_home(worlds.copy(folder)) as home:
        Scheduled(home, *IDLE).until_says("Prefect UI")
        flow_run, process = begin_training(home, 100, *(QUICK if quick else LONG))
        early = random_.random() < EARLY
        until_moment(random_.uniform(0.5, 5) if early else random_.uniform(0, 4), early, home.world, process)
        kill_all(home.world)
        left_open = run_open(home.world)
        assert left_open or early or quick, "the training had no run in MLflow"
        time.sleep(down)
        restarted = time.monotonic()
        again = Scheduled(home, *IDLE)
        again.until_says("Prefect UI")
        until(lambda: not _left_open(home), "true states")
        assert time.monotonic() - restarted <= 60, f"true states took {time.monotonic() - restarted:.0f} s"
        state = _state(home, flow_run)
        assert state == "CRASHED" or (quick and state == "COMPLETED"), f"the killed flow run is {state}"
        asked = time.monotonic()
        following, _ = begin_training(home, 101, *QUICK)
        until(lambda: _state(home, following) == "RUNNING", "a next training: is a slot kept?", 60)
        assert time.monotonic() - asked <= 60, f"the next training began after {time.monotonic() - asked:.0f} s"
        until(lambda: _state(home, following) not in (*_OPEN, "SCHEDULED"), "its end", 300)
        assert _state(home, following) == "COMPLETED", again.output[-2_000:]
        assert again.ends(signal.SIGTERM) == 0, again.output[-2_000:]
        check_whole(home.world)
    return {"kills": 1, "of them with a run open": int(left_open), "seconds down": down}


F2 = Case(
    "F2",
    "When the schedule, its Prefect server and a training are killed together, the next start says within 60 s "
    "what became of it, in Prefect and in MLflow, and trains.",
    "A try kills the whole process tree with SIGKILL while a deployment trains: in seven of ten within 4 s of the "
    f"start of its run in MLflow, else before it. After {DOWN} s, in three of ten after {LONG_DOWN} s, it starts "
    "`sentiflow schedule` again. No flow run, task run or run of MLflow may stay open, and the next training must "
    "begin within 60 s and complete. In every second try the training is short: it may be over before the kill.",
    all_killed,
    short=1,
    long=20,
    reds=(
        Red(
            "a start does not close what the killed one left", "flows/cli/schedule.py",
            "dead = close_orphaned(client, [each.id for each in applied])", "dead = close_orphaned(client, [])",
            "in vain for true states",
        ),
        Red(
            "a start does not look after MLflow's runs", "flows/cli/schedule.py", "if dead:", "if not dead:",
            "in vain for true states",
        ),
    ),
)  # fmt: skip

ROUNDS = 4


def one_at_a_time(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """A schedule and a command want to train one model; whoever does is killed, again and again."""
    random_, seeds = random.Random(seed), map(str, count(100))
    world = worlds.copy(folder)
    client = connect(world.settings)
    seen = {run.info.run_id for run in all_runs(client)}
    killed: set[str] = set()
    commands: list[subprocess.Popen[bytes]] = []
    begins = seed % 2 == 1  # the command alone: a schedule's training would wait for the lock, and take it first
    with at_home(world) as home:
        schedule = Scheduled(home, *IDLE)
        if begins:
            commands.append(start(world, "sentiflow", *TRAIN, *LONG, "--seed", next(seeds)))
            _next_training(client, seen, 1)
        schedule.until_says("Prefect UI")
        _trigger(home, *[("train", "--seed", next(seeds), *LONG) for _ in range(2 * ROUNDS)])
        for done in range(ROUNDS):
            if done == ROUNDS // 2:
                schedule = _without_server(home, schedule)
            if not commands or commands[-1].poll() is not None:
                commands.append(start(world, "sentiflow", *TRAIN, *LONG, "--seed", next(seeds)))
            training = _next_training(client, seen | killed, random_.randint(1, 12))
            _kill_holder(training, home, commands[-1])
            killed.add(training.info.run_id)
        assert schedule.ends(signal.SIGTERM) == 0, schedule.output[-2_000:]
        commands[-1].terminate()
        codes = Counter(command.wait(60) for command in commands)
        assert set(codes) <= {3, -signal.SIGKILL, 128 + signal.SIGTERM}, codes
        assert not codes[3] or "Another training of" in (world.root / "output.txt").read_text()
        swept = home.run("housekeeping")  # the last one that was killed has no next training
        assert swept.returncode == 0, swept.stderr
    _check_apart(client, seen)
    check_whole(world)
    assert codes[-signal.SIGKILL] or not begins, codes
    return {"rounds": ROUNDS, "commands killed": codes[-signal.SIGKILL], "commands refused": codes[3]}


def _without_server(home: Home, schedule: Scheduled) -> Scheduled:
    """Kill a schedule's Prefect server, which ends the schedule, and start both again."""
    own = psutil.Process(schedule.process.pid).children(recursive=True)
    living = [each for each in own if each.status() != psutil.STATUS_ZOMBIE]  # not the training killed just now
    (server,) = [each for each in living if "prefect.server.api.server:create_app" in each.cmdline()]
    server.kill()
    assert schedule.process.wait(60) == 3, schedule.output[-2_000:]
    again = Scheduled(home, *IDLE)
    again.until_says("Prefect UI")
    return again


def new_runs(client: MlflowClient, seen: set[str]) -> list[Run]:
    return [run for run in all_runs(client) if run.info.run_id not in seen]


def _epochs(client: MlflowClient, run: Run) -> list[int]:
    """When each epoch was logged (ms since 1970), which only a living process does."""
    return sorted(each.timestamp for each in client.get_metric_history(run.info.run_id, "train/loss"))


def _next_training(client: MlflowClient, seen: set[str], epochs: int) -> Run:
    """The training that goes on, once it has logged so many epochs."""

    def found() -> list[Run]:
        running = [run for run in new_runs(client, seen) if run.info.status == "RUNNING"]
        return [run for run in running if len(_epochs(client, run)) >= epochs]

    return until(found, "a training", 180)[-1]


def _kill_holder(run: Run, home: Home, command: "subprocess.Popen[bytes]") -> None:
    flow_run = run.data.tags["prefect.flow_run_id"]
    if process := _process_of(home.world, flow_run):
        process.kill()
        return
    assert command.poll() is None, f"{run.info.run_name} is running, and has no process"
    command.kill()
    command.wait()


def _check_apart(client: MlflowClient, seen: set[str]) -> None:
    """Assert that no training logged an epoch after the next one had begun."""
    spans = sorted((run.info.start_time, max(_epochs(client, run), default=0)) for run in new_runs(client, seen))
    assert len(spans) >= ROUNDS, f"{len(spans)} trainings"
    for (_, ended), (began, _) in pairwise(spans):
        assert ended <= began, f"two trainings at once: one began {ended - began} ms before the other's last epoch"


F4 = Case(
    "F4",
    "However often a schedule and commands with one data folder want to train a model, one at a time does, and "
    "when its process is killed the next one goes on.",
    "A schedule and `sentiflow train` share a data folder; in every second try the command trains first. A try "
    f"kills whoever trains {ROUNDS} times, after 1 to 12 epochs, and once the Prefect server of the schedule: the "
    "schedule ends with it, and is started again. No training may log an epoch after the next one began; at the "
    "end, after `sentiflow housekeeping`, as in F1.",
    one_at_a_time,
    short=0,
    long=13,
    reds=(
        Red(
            "trainings take no lock", "sentiflow/training/open_run.py",
            "    with training_lock(model, settings, patience, logger):\n", "    if True:\n",
            "two trainings at once",
        ),
    ),
)  # fmt: skip

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"  # Debian's package faketime
INTERVAL, LONG_INTERVAL = 6, 60  # seconds
TIMES = 20


def due_again(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """A schedule that was down, a training that is asked for twenty times, or a clock that is set by an hour."""
    clock = folder / "clock"
    faked = {
        "LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    kind = seed % 4
    with at_home(worlds.copy(folder), **(faked if kind == 3 else {})) as home:
        if kind == 3:
            return _clock_set(home, clock, 3_600 if seed % 8 == 3 else -3_600)
        return _asked_often(home) if kind == 1 else _missed(home, killed=kind == 0)


def _states(home: Home, flow: str) -> list[str]:
    return [str(run["state_type"]) for run in home.flow_runs(flow)]


def _missed(home: Home, *, killed: bool) -> dict[str, int]:
    """End a schedule in its first training; the next start trains once for all that came due meanwhile."""
    often = (*TRAINING, "--train", f"every {INTERVAL}s", "--set", "epochs=30", "--housekeeping", "off")
    before = Scheduled(home, *often)
    before.until_says("epoch 1/30")
    kill_all(home.world) if killed else before.ends(signal.SIGTERM)
    time.sleep(3 * INTERVAL + 1)
    client, restarted = connect(home.world.settings), datetime.now(UTC)
    versions = len(versions_of(client, NAME))
    after = Scheduled(home, *often)
    after.until_says("Prefect UI")

    def ended(due_before: datetime) -> Counter[str]:
        """The states of the runs that the schedule itself made; the world's were started by hand."""
        runs: list[dict[str, Any]] = [run for run in home.flow_runs("train") if run["auto_scheduled"]]
        due = {run["id"]: datetime.fromisoformat(run["expected_start_time"]) for run in runs}
        return Counter(run["state_name"] for run in runs if due[run["id"]] < due_before)

    final = {"Completed", "Skipped", "Crashed", "Cancelled"}
    until(lambda: set(ended(restarted)) <= final and ended(datetime.now(UTC))["Skipped"], "catch-up", 300)
    missed, found = ended(restarted), ended(datetime.now(UTC))
    assert (found["Completed"], found["Crashed"] + found["Cancelled"]) == (1, 1), found
    assert len(versions_of(client, NAME)) == versions + 1
    assert after.ends(signal.SIGTERM) == 0, after.output[-2_000:]
    check_whole(home.world)
    return {"times down": 1, "missed slots": missed["Completed"] + missed["Skipped"]}


def _clock_set(home: Home, clock: Path, seconds: int) -> dict[str, int]:
    """Set the clock while a schedule runs; it goes on, and no run takes place twice."""
    clock.write_text("+0")
    schedule = Scheduled(home, *TRAINING, "--train", "off", "--housekeeping", f"every {LONG_INTERVAL}s")
    schedule.until_says("Prefect UI")

    def ended(name: str) -> list[datetime]:
        """When the runs that ended in a state were due."""
        runs: list[dict[str, Any]] = home.flow_runs("housekeeping")
        return [datetime.fromisoformat(run["expected_start_time"]) for run in runs if run["state_name"] == name]

    until(lambda: ended("Completed"), "a first run", 120)
    known, set_at = len(ended("Completed")), datetime.now(UTC)
    clock.write_text(f"{seconds:+d}")
    if seconds < 0:  # the slots wait for the clock; what a person asks for does not
        _trigger(home, ("housekeeping",))
        until(lambda: len(ended("Completed")) > known, "the run that was asked for", 600)
        clock.write_text("+0")
    asked = 1 if seconds < 0 else 0
    until(lambda: len(ended("Completed")) >= known + asked + 2, "two more runs", 600)
    assert not ended("Crashed") and not ended("Failed"), schedule.output[-2_000:]
    due = ended("Completed")
    assert len(set(due)) == len(due), "two runs of one slot"
    if seconds > 0:
        assert max(due) > set_at + timedelta(seconds=LONG_INTERVAL), "the clock was not set"
    assert schedule.ends(signal.SIGTERM) == 0, schedule.output[-2_000:]
    check_whole(home.world)
    return {"clocks set": 1}


def _asked_often(home: Home) -> dict[str, int]:
    schedule = Scheduled(home, *IDLE)
    schedule.until_says("Prefect UI")
    _trigger(home, *[("train", "--seed", "100", *QUICK)] * TIMES)
    client = connect(home.world.settings)

    def all_ended() -> bool:
        states = _states(home, "train")[-TIMES:]
        assert sum(state in ("RUNNING", "CANCELLING") for state in states) <= 1, states
        assert len(versions_of(client, NAME)) <= 4, "the same training was registered twice"
        return len(states) == TIMES and not {"SCHEDULED", *_OPEN} & set(states)

    until(all_ended, "the end of all of them", 1_200)
    names = Counter(run["state_name"] for run in home.flow_runs("train")[-TIMES:])
    assert names == {"Completed": 1, "Skipped": TIMES - 1}, names
    assert schedule.ends(signal.SIGTERM) == 0, schedule.output[-2_000:]
    assert check_whole(home.world) == 4
    return {"triggers": TIMES}


F12 = Case(
    "F12",
    "A schedule that was down trains once for all that it missed, and a training that is asked for many times is "
    "trained once.",
    f"The tries take four forms in turn. A schedule that trains every {INTERVAL} s is killed in its first "
    "training, or stopped, and started again after three intervals: one run trains for all that it missed, the "
    "others end as skipped. "
    f"`sentiflow trigger train` asks {TIMES} times for the same recipe and seed: one run at a time, one of them "
    "trains, the others end as skipped, and there is one version. The clock of a schedule with a run every "
    f"{LONG_INTERVAL} s is set on or back by an hour: no run that was due takes place twice, and the schedule "
    "goes on. While the clock is set back, it runs what somebody "
    "triggers; once the clock is right again, it goes on with what is due.",
    due_again,
    short=0,
    long=8,
    reds=(
        Red(
            "a training does not look for an equal version", "flows/train.py", "equal = None if force else",
            "equal = None if not force else", "the same training was registered twice", seed=1,
        ),
    ),
)  # fmt: skip
