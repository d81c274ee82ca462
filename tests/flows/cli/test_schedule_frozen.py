"""A schedule whose runs take longer than their interval, or that stood still: one run waits, not one a slot."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.scheduled import Home, Scheduled, until
from tests.servers import free_port
from tests.world import make_world

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

INTERVAL = timedelta(seconds=4)  # a run's start alone takes longer
STOPPED_SECONDS = 16


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Home:
    return Home(make_world(tmp_path_factory.mktemp("frozen"), migrated_store), free_port())


@pytest.fixture(scope="module")
def schedule(home: Home) -> Iterator[Scheduled]:
    begun = Scheduled(home, "--dataset", "sample", "--train", "off", "--housekeeping", "every 4s")
    try:
        begun.until_says("Prefect UI")
        yield begun
    finally:
        assert begun.ends(signal.SIGHUP) == 0, "its terminal was closed"
        assert begun.lines[-1] == "Ended."


def due(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def late(home: Home, now: datetime) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = home.flow_runs("housekeeping")  # type: ignore[assignment]
    return [run for run in found if run["state_type"] == "SCHEDULED" and due(run) < now]


def until_one_runs(home: Home, schedule: Scheduled) -> None:
    until(
        lambda: "RUNNING" in [run["state_type"] for run in home.flow_runs("housekeeping")], "a run", schedule.lines
    )


def test_while_a_run_takes_longer_than_its_interval_one_waits(home: Home, schedule: Scheduled) -> None:
    """Looked at for six intervals; a slot that has just passed may not have been seen yet."""
    until_one_runs(home, schedule)
    end = time.monotonic() + 6 * INTERVAL.total_seconds()
    while time.monotonic() < end:
        assert len(late(home, datetime.now(UTC) - 2 * INTERVAL)) <= 1
        time.sleep(1)

    def states() -> set[tuple[Any, Any]]:
        return {(run["state_type"], run["state_name"]) for run in home.flow_runs("housekeeping")}

    ended = {("COMPLETED", "Skipped"), ("COMPLETED", "Completed")}
    until(lambda: ended <= states(), "a run to complete and another to be skipped", schedule.lines)
    assert "AwaitingConcurrencySlot" not in {name for _, name in states()}


def processes(schedule: Scheduled) -> list[psutil.Process]:
    """The schedule's, with all that it started: the server, and what runs."""
    parent = psutil.Process(schedule.process.pid)
    return [parent, *parent.children(recursive=True)]


def send(found: Sequence[psutil.Process], number: signal.Signals) -> None:
    for each in found:
        if each.is_running():
            os.kill(each.pid, number)


def test_after_standing_still_one_run_catches_up(home: Home, schedule: Scheduled) -> None:
    until_one_runs(home, schedule)
    frozen = processes(schedule)
    send(frozen, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    thawed = datetime.now(UTC)
    send(frozen, signal.SIGCONT)

    def missed() -> list[dict[str, Any]]:
        """Runs that came due before it went on, and were begun or dropped after that, or wait still."""
        found: list[dict[str, Any]] = home.flow_runs("housekeeping")  # type: ignore[assignment]
        return [run for run in found if due(run) < thawed < datetime.fromisoformat(run["state"]["timestamp"])]

    def begun() -> list[str]:
        """The states of those that were begun after it went on."""
        ran = [run for run in missed() if run["state_name"] != "Skipped" and run["state_type"] != "SCHEDULED"]
        return [
            run["state_type"]
            for run in ran
            if datetime.fromisoformat(run["start_time"] or run["created"]) > thawed
        ]

    until(lambda: "COMPLETED" in begun() and not late(home, thawed), "the slots to be seen to", schedule.lines)
    assert begun() == ["COMPLETED"], [(run["expected_start_time"], run["state_name"]) for run in missed()]
    assert [run["state_name"] for run in missed()].count("Skipped") >= STOPPED_SECONDS / 4 - 2
