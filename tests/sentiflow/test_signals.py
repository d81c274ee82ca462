"""Signals of a process, told where what they raise is lost."""

import os
import subprocess
import sys

import pytest

# A flow of a deployment, with a handler like Prefect's; what that raises is lost, or another error is made of it.
FLOW = """
import os, signal
from sentiflow import signals
from sentiflow.operations import job

job.by_deployment = lambda: "DEPLOYED" in os.environ

def handler(number, frame):
    raise KeyError("the signal's own")

@job.job()
def train():
    assert not signals.first_signal()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyError:
        pass
    raise SystemError("made of it")

signal.signal(signal.SIGTERM, handler)
try:
    train.fn()
except Exception as err:
    print(err, signals.first_signal())
"""


@pytest.mark.story
@pytest.mark.parametrize(("deployment", "told"), [("1", '"the signal\'s own" 15\n'), ("", "made of it 0\n")])
def test_a_signal_to_a_deployments_run_is_told_where_its_exception_was_lost(deployment: str, told: str) -> None:
    environment = {"DEPLOYED": deployment} if deployment else {}
    done = subprocess.run(
        [sys.executable, "-c", FLOW],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == told, done.stderr
