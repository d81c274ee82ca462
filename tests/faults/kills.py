"""SIGKILL: at random moments and at named steps."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from sentiflow.store.client import connect
from tests.faults.worlds import (
    NAME,
    SAMPLE,
    TRAIN,
    Worlds,
    check_history,
    check_whole,
    put_in_use,
)  # fmt: skip
from tests.mlflow_store import champion_of
from tests.polling import until
from tests.world import ROOT, Registry, World

QUICK = ("--set", "epochs=1", "--set", "sequence_length=40")
SWEEP = ("sweep", *SAMPLE, "--recipe", "tutorial", "--workers", "1", "--repeats", "1", *QUICK)

# The command line, which kills itself right before or after the n-th call of a named step.
AT_STEP = """
import os, signal, sys
from functools import reduce
from importlib import import_module
module, _, path = {step!r}.partition(":")
*owners, name = path.split(".")
owner = reduce(getattr, owners, import_module(module))
step, calls = getattr(owner, name), []
def killed(*given, **named):
    calls.append(1)
    if len(calls) < {call}:
        return step(*given, **named)
    if {after}:
        step(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, killed)
sys.argv = ["sentiflow", *{arguments!r}]
from flows.cli.main import main
main()
"""


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Attributes:
        arguments: of ``sentiflow``, for a world.
        begun: whether its work has begun, so that a kill leaves something half-made.
        seconds: from then to its end, about.
        steps: that it comes by, and how often; each is to be killed before and after.
        codes: of its second run, after the kill.
        check: what must be there after the second run.
    """

    arguments: Callable[[World], tuple[str, ...]]
    begun: Callable[[World], bool]
    seconds: float
    steps: dict[str, int]
    check: Callable[[World], None]
    codes: tuple[int, ...] = (0,)


_CLIENT = "mlflow.tracking:MlflowClient."


def _has_versions(number: int, world: World) -> None:
    found = check_whole(world, Registry.POOR)
    assert found == number, f"{found} versions instead of {number}"


def _is_promoted(world: World) -> None:
    check_whole(world, Registry.GOOD)
    assert check_history(connect(world.settings)) == 1, "the history has another number of promotions"


def _is_scored(world: World) -> None:
    check_whole(world, Registry.POOR)
    rows = pd.read_csv(world.root / "out.csv")["row"].tolist()
    assert sorted(rows) == list(range(1, ROWS + 1)), f"{len(rows)} rows, {len(set(rows))} of them different"
    left = sorted(path.name for path in world.root.glob(".out.csv*"))
    assert not left, f"files left: {left}"


def run_open(world: World) -> bool:
    """Whether a run of MLflow is open; its own client would cost more than what it looks at."""
    with closing(sqlite3.connect(world.root / "mlruns" / "mlflow.db")) as database:
        return database.execute("SELECT 1 FROM runs WHERE status = 'RUNNING'").fetchone() is not None


ROWS = 40_000


def _score(world: World) -> tuple[str, ...]:
    table = world.root / "in.csv"
    if not table.exists():
        texts = [f"{k} the acting was {'fine' if k % 3 else 'dull'} " * (k % 9 + 1) for k in range(ROWS)]
        pd.DataFrame({"text": texts}).to_csv(table, index=False)
    return "score", str(table), "-o", str(world.root / "out.csv"), "--workers", "2"


COMMANDS = {
    "train": Command(
        lambda _: (*TRAIN, "--set", "epochs=1", "--seed", "7"), run_open, 8,
        dict.fromkeys(
            (
                f"{_CLIENT}create_run", f"{_CLIENT}log_model_artifacts", f"{_CLIENT}finalize_logged_model",
                f"{_CLIENT}create_model_version", f"{_CLIENT}set_terminated",
            ), 1,
        ),
        partial(_has_versions, 4),
    ),
    "promote": Command(
        lambda _: ("promote", "1", *SAMPLE),
        lambda world: (world.root / "data" / "locks" / f"{NAME}.champion.lock").exists(), 0.5,
        {
            f"{_CLIENT}set_model_version_tag": 11, f"{_CLIENT}set_registered_model_tag": 1,
            f"{_CLIENT}set_registered_model_alias": 1,
        },
        _is_promoted, (0, 2),
    ),
    "score": Command(
        _score, lambda world: any(world.root.glob(".out.csv*")), 0.5,
        {"sentiflow.batch.job:write_output": 1}, _is_scored,
    ),
    "sweep": Command(
        lambda _: (*SWEEP, "--trials", "2"), run_open, 8,
        {f"{_CLIENT}create_model_version": 1, f"{_CLIENT}set_terminated": 1}, partial(_has_versions, 4),
    ),
    "repeat": Command(
        lambda _: (*TRAIN, "--set", "epochs=1", "--seed", "7", "--repeats", "2"), run_open, 10,
        {f"{_CLIENT}create_model_version": 1, f"{_CLIENT}set_terminated": 3}, partial(_has_versions, 4),
    ),
}  # fmt: skip


def kill(
    world: World, name: str, command: Command, random_: random.Random, *, at_step: bool, **variables: str
) -> bool:
    """Kill a command at a named step, or in the middle of its work; gives whether it had not finished before."""
    arguments = command.arguments(world)
    if at_step:
        step = random_.choice(list(command.steps))
        call = random_.randint(1, command.steps[step])
        code = AT_STEP.format(step=step, call=call, after=random_.choice([True, False]), arguments=arguments)
        gone = start(world, sys.executable, "-c", code, PYTHONPATH=str(ROOT), **variables).wait(600) == -9
        assert gone, f"{name} never came by call {call} of {step}"
    else:
        process = start(world, "sentiflow", *arguments, **variables)
        until(lambda: command.begun(world) or process.poll() is not None, f"{name} to begin its work", 300)
        assert process.poll() is None, f"{name} ended with {process.poll()} before it was killed"
        time.sleep(random_.uniform(0, command.seconds))
        process.kill()
        gone = process.wait() == -signal.SIGKILL
    until(lambda: not world.processes(), f"what {name} has started to end with it", 60)
    return gone


def killed(worlds: Worlds, folder: Path, seed: int) -> None:
    """Kill a command, in the middle of its work or at a named step; the same one then works, nothing is left."""
    world, random_ = worlds.copy(folder), random.Random(seed)
    put_in_use(world, Registry.POOR)
    name = list(COMMANDS)[seed % len(COMMANDS)]
    command, at_step = COMMANDS[name], seed // len(COMMANDS) % 2 == 1
    gone = kill(world, name, command, random_, at_step=at_step)
    assert champion_of(connect(world.settings), NAME) in (Registry.POOR, Registry.GOOD), (
        "no champion after the kill"
    )
    again = world.run(*command.arguments(world), timeout=900, PREFECT_API_URL="")
    codes = command.codes if gone else (*command.codes, 2)  # it had finished: nothing is left to promote
    assert again.returncode in codes, f"{name} again ended with {again.returncode}: {again.stderr[-1_500:]}"
    command.check(world)


def start(
    world: World, program: str, *arguments: str, before: Callable[[], None] | None = None, **variables: str
) -> "subprocess.Popen[bytes]":
    """A command with a Prefect server of its own, in the background; its output goes to a file of the world."""
    with (world.root / "output.txt").open("a") as output:
        return subprocess.Popen(
            [Path(sys.executable).with_name(program) if program == "sentiflow" else program, *arguments],
            env=world.environment(**{"PREFECT_API_URL": "", **variables}), preexec_fn=before, cwd=world.root,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
