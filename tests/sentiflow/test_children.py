"""What a process starts ends with it, whatever ends it; so does a flow run with the schedule that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from sentiflow.children import Child, stop
from tests.polling import until
from tests.world import ROOT, alive

# Starts a process of its own, ignores being asked to end, as its child does, and says both numbers.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
PARENT = """
import os, signal, sys, time
from sentiflow.children import Child
Child(["stubborn"], os.environ)
time.sleep(600)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}


def ended(process: int, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.story  # five seconds each
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_process_takes_along_what_it_started_and_what_that_started(
    environment: dict[str, str], number: signal.Signals
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    started = [int(word) for word in parent.stdout.readline().split()]
    try:
        assert len(started) == 2
        parent.send_signal(number)
        assert parent.wait(20) == -number
        assert all(ended(process) for process in started)
    finally:
        for process in filter(lambda process: not ended(process, 0), started):
            os.kill(process, signal.SIGKILL)
        parent.stdout.close()


def stubborn(environment: dict[str, str], output: IO[bytes], said: Path) -> tuple[Child, list[int]]:
    """A child that ignores being asked to end, and the numbers of its process and of the one that it started."""
    child = Child(["stubborn"], environment, output)
    until(lambda: said.read_text().endswith("\n"), seconds=20)
    return child, [int(word) for word in said.read_text().split()]


def test_one_that_hangs_is_ended_with_what_it_started(environment: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "output").open("w+b") as output:
        child, started = stubborn(environment, output, tmp_path / "output")
        stop([child], 0)
        assert (child.poll(), [ended(process) for process in started]) == (-signal.SIGKILL, [True, True])
        stop([child])  # once more does no harm


def test_one_that_ends_by_itself_says_how(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("raise SystemExit(7)")
    assert Child(["leaves"], environment).wait() == 7


def test_its_imports_are_not_looked_through_again_and_again(environment: dict[str, str], tmp_path: Path) -> None:
    """Red if looking through them made each start of Prefect's server longer."""
    (tmp_path / "imports.py").write_text("import gc; raise SystemExit(gc.get_threshold()[0] < 50_000)")
    assert Child(["imports"], environment).wait() == 0


def test_what_it_started_ends_with_it_when_it_was_killed_itself(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "output").open("w+b") as output:
        child, started = stubborn(environment, output, tmp_path / "output")
        os.kill(started[0], signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        stop([child])
        assert [ended(process) for process in started] == [True, True]


SCHEDULE = """
import subprocess, sys, time
from sentiflow.children import mark_children
mark_children()
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
time.sleep(600)
"""
FLOW_RUN = """
import os, signal, sys, time
from sentiflow import children

def end(*_):
    print(children.gone.is_set(), flush=True)
    sys.exit()

signal.signal(signal.SIGTERM, {answer})
children.end_with_schedule(None, None, None)
children.end_with_schedule(None, None, None)  # of a flow within a flow
print("begun", flush=True)
time.sleep(600)
"""


@pytest.mark.story  # it has ten seconds to end
@pytest.mark.parametrize(("answer", "said"), [("end", "True"), ("signal.SIG_IGN", "")])
def test_a_flow_run_is_asked_to_end_and_killed_if_it_does_not(answer: str, said: str) -> None:
    schedule = subprocess.Popen(
        [sys.executable, "-c", SCHEDULE, FLOW_RUN.format(answer=answer)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert schedule.stdout is not None
    assert schedule.stdout.readline() == "begun\n"
    os.kill(schedule.pid, signal.SIGKILL)  # it alone
    try:
        assert (
            schedule.communicate(timeout=30)[0].strip() == said
        )  # returns once the flow run holds the pipe no more
    finally:
        os.killpg(schedule.pid, signal.SIGKILL) if schedule.poll() is None else None


def test_a_process_that_no_schedule_started_is_left_alone() -> None:
    code = "from sentiflow.children import end_with_schedule; import threading; end_with_schedule(0, 0, 0); " \
        "print(threading.active_count())"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "1\n"
