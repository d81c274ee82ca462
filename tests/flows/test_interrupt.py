import os
import signal
import subprocess
from collections.abc import Iterable, Iterator

import pytest

from sentiflow.store.client import connect
from tests.receiver import receiver
from tests.world import ROOT, World, command


def until(word: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines up to the one that holds a word."""
    for line in lines:
        yield line
        if word in line:
            return


@pytest.mark.story
@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_training_is_closed_at_once_and_leaves_no_server(
    world: World, number: signal.Signals, whole_group: bool
) -> None:
    """Ctrl-C reaches every process of a terminal's group, `kill` one process; the webhook hears of the latter."""
    with receiver() as got:
        _interrupt(world, number, whole_group, got.address)
    assert [message["state"] for message in got.messages] == ([] if number == signal.SIGINT else ["CRASHED"])


def _interrupt(world: World, number: signal.Signals, whole_group: bool, webhook: str) -> None:
    process = subprocess.Popen(
        [command(), "train", "--dataset", "sample", "--set", "epochs=900", "--set", "sequence_length=40"],
        env=world.environment(
            SENTIFLOW_NOTIFY_URL=webhook, PREFECT_API_URL=""
        ),  # empty, as an .env file may leave it: none at all
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        begun = list(until("epoch 1/", process.stderr))
        assert "epoch 1/" in begun[-1], "the training never began"
        assert not [line for line in begun if "EventsWorker" in line], "task states, sent as events, are lost"
        assert len(world.processes()) == 2  # the command and its Prefect server
        (os.killpg if whole_group else os.kill)(process.pid, number)
        rest = process.communicate(timeout=60)[1]  # returns only once no child holds the pipe any more
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "Interrupted" in rest and "Traceback" not in rest
    (run,) = connect(world.settings).search_runs(["1"])
    assert run.info.status == "KILLED"
    told = "it was interrupted" if number == signal.SIGINT else "it was asked to end"
    assert run.data.tags["end"] == told
    assert list((world.root / "data" / "work").glob("*/*")) == []
    assert world.processes() == []
