"""A flow run ends with the schedule that started it."""

import os
import signal
import subprocess
import sys

import pytest

from tests.world import ROOT

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
