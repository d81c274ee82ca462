"""Tasks side by side."""

import os
import signal

import pytest
from prefect import task

from sentiflow.errors import ExternalError
from sentiflow.operations.task_runners import running
from sentiflow.settings import Settings
from sentiflow.store.client import OpenRun

RUN = OpenRun("", "a sweep", "0", Settings(_env_file=None, task_runner="processes"))


@task
def begin() -> None:
    """Nothing is to be prepared."""


@task
def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.story
def test_a_process_that_the_kernel_kills_is_told_as_such(prefect_server: None) -> None:
    with (
        pytest.raises(ExternalError, match="A process that trained was killed") as raised,
        running(RUN, 2, begin) as runner,
    ):
        list(runner.side_by_side(be_killed, [{}, {}]))
    assert "fewer --workers" in raised.value.hint
