"""SIGTERM and SIGINT: to a training, and to the schedule that runs one."""

import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil

from sentiflow.store.client import connect
from tests.faults.campaign import Case, Red
from tests.faults.kills import start, until_moment
from tests.faults.schedules import IDLE, LONG, QUICK, at_home, begin_training, new_runs
from tests.faults.worlds import TRAIN, Worlds, all_runs, check_whole
from tests.polling import until
from tests.scheduled import Scheduled
from tests.world import World

END_SECONDS = 20

# The command line, which sends itself a signal while Keras converts a value, within a bare `except`.
AT_CONVERSION = """
import os, sys
import keras
convert, calls = keras.src.backend.convert_to_numpy, []
def interrupted(value):
    if sys._getframe(1).f_code.co_name == "pythonify_logs":
        calls.append(value)
        if len(calls) == {conversion}:
            print("at a conversion", flush=True)
            os.kill(os.getpid(), {number})
    return convert(value)
keras.src.backend.convert_to_numpy = interrupted
sys.argv = ["sentiflow", *{arguments!r}]
from flows.cli import main
main()
"""


def signalled(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Send SIGTERM or SIGINT to a training, at a random moment or while Keras ignores it, or to its schedule."""
    world, random_ = worlds.copy(folder), random.Random(seed)
    number = random_.choice([signal.SIGTERM, signal.SIGINT])
    before = {run.info.run_id for run in all_runs(connect(world.settings))}
    kind = ("command", "conversion", "schedule")[seed % 3]
    quick = kind != "conversion" and random_.random() < 0.3  # it may be over before the signal comes
    early = kind != "conversion" and random_.random() < 0.3  # before there is a run in MLflow
    moment = random_.uniform(0.3, 5) if early else random_.uniform(0, 4)
    ended = _end_schedule if kind == "schedule" else partial(_end_command, at_conversion=kind == "conversion")
    finished = ended(world, number, QUICK if quick else LONG, moment, early)
    statuses = {run.info.status for run in new_runs(connect(world.settings), before)}
    if not early and not quick:
        assert statuses == {"KILLED"}, f"{kind}: the run is {statuses}"
    assert statuses <= ({"FINISHED"} if finished else {"KILLED", "FINISHED"} if quick else {"KILLED"}), statuses
    check_whole(world)
    return {"signals": 1, "of them with a run open": int(statuses == {"KILLED"})}


def _end_command(
    world: World, number: signal.Signals, more: tuple[str, ...], moment: float, early: bool, *, at_conversion: bool
) -> bool:
    """Gives whether it had finished before."""
    arguments = *TRAIN, *more, "--seed", "100"
    if at_conversion:
        code = AT_CONVERSION.format(conversion=1 + int(moment * 120), number=int(number), arguments=arguments)
        process = start(world, sys.executable, "-c", code)
        until(lambda: "at a conversion" in (world.root / "output.txt").read_text(), "the conversion", 300)
    else:
        process = start(world, "sentiflow", *arguments)
        until_moment(moment, early, world, psutil.Process(process.pid))
        if process.poll() is None:  # Ctrl-C reaches the whole group
            (os.kill if number == signal.SIGTERM else os.killpg)(process.pid, number)
    try:
        code = process.wait(END_SECONDS)
    finally:
        process.kill()
    output = (world.root / "output.txt").read_text()
    assert code in ((0, 128 + number) if more == QUICK else (128 + number,)), f"code {code}: {output[-2_000:]}"
    assert "Traceback" not in output, output[-3_000:]
    return code == 0


def _end_schedule(world: World, number: signal.Signals, more: tuple[str, ...], moment: float, early: bool) -> bool:
    with at_home(world) as home:
        schedule = Scheduled(home, *IDLE)
        schedule.until_says("Prefect UI")
        flow_run, process = begin_training(home, 100, *more)
        until_moment(moment, early, world, process)
        began = time.monotonic()
        code, seconds = schedule.ends(number), time.monotonic() - began
        assert code == 0, f"code {code}: {schedule.output[-2_000:]}"
        assert seconds <= END_SECONDS, f"the schedule needed {seconds:.0f} s to end"
        assert "Traceback" not in schedule.output, schedule.output[-3_000:]
    with closing(sqlite3.connect(world.root / "prefect" / "prefect.db")) as database:
        id_ = flow_run["id"]
        (state,) = database.execute("SELECT state_type FROM flow_run WHERE id = ?", [id_]).fetchone()
    assert state == "CANCELLED" or (more == QUICK and state == "COMPLETED"), f"the flow run is {state}"
    return state == "COMPLETED"


F1S = Case(
    "F1s",
    f"A training that is asked to end does so within {END_SECONDS} s and says so; nothing is left open.",
    "A try sends SIGTERM, or SIGINT to the whole process group: in turn to `sentiflow train`, to its process "
    "alone while Keras converts a value and ignores all exceptions, and to `sentiflow schedule`. Most come "
    "within 4 s of the run's start, while the network is built, traced and trained, the others before there is "
    "a run. The command must end with 143 or 130, the schedule with 0 and its flow run as cancelled, the run in "
    "MLflow as killed; a short training, of some tries, may have finished before. The rest is as in F1.",
    signalled,
    short=2,
    long=20,
    reds=(
        Red(
            "a signal that Keras ignores is not raised again", "sentiflow/training/network/loop.py",
            "    signals.stop_if_asked()\n    if not all(isinstance(value, float) for value in values):\n"
            "        raise KeyboardInterrupt\n",
            "", "timed out", seed=1,
        ),
        Red(
            "a schedule does not cancel what runs", "sentiflow/operations/due_runs.py",
            "            await self.astop()\n", "            raise SystemExit\n", "the flow run is", seed=2,
        ),
    ),
)  # fmt: skip
