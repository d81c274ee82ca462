"""A schedule whose runs take longer than their interval, or that stood still: few wait, not one a slot."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.polling import until
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import make_world

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(900)]

INTERVAL = timedelta(seconds=4)  # a run's start alone takes longer
STOPPED_SECONDS = 16


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Home:
    return Home(make_world(tmp_path_factory.mktemp("frozen"), migrated_store), free_port())


@pytest.fixture(scope="module")
def schedule(home: Home) -> Iterator[Scheduled]:
    begun = Scheduled(home, "--dataset", "sample", "--train", "off", housekeeping="every 4s")
    try:
        begun.until_says("Prefect UI")
        yield begun
    finally:
        assert begun.ends(signal.SIGHUP) == 0, "its terminal was closed"
        assert begun.lines[-1] == "Ended."


def due(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def until_one_runs(home: Home, schedule: Scheduled) -> None:
    until(
        lambda: "RUNNING" in [run["state_type"] for run in home.flow_runs("housekeeping")],
        "a run",
        told=lambda: schedule.output,
    )


def ran_apart(home: Home) -> bool:
    """Whether no run of those that ended began before the one before it had ended."""
    found: list[dict[str, Any]] = home.flow_runs("housekeeping")  # type: ignore[assignment]
    spans = sorted((run["start_time"], run["end_time"]) for run in found if run["state_name"] == "Completed")
    return all(ended <= begun for (_, ended), (begun, _) in pairwise(spans))


def waiting(home: Home, now: datetime) -> int:
    """How many runs are due and have not begun."""
    found: list[dict[str, Any]] = home.flow_runs("housekeeping")  # type: ignore[assignment]
    return sum(run["state_type"] == "SCHEDULED" and due(run) < now for run in found)


def test_while_a_run_takes_longer_than_its_interval_few_wait(home: Home, schedule: Scheduled) -> None:
    """Looked at for twelve intervals."""
    until_one_runs(home, schedule)
    end = time.monotonic() + 12 * INTERVAL.total_seconds()
    while time.monotonic() < end:
        assert waiting(home, datetime.now(UTC)) <= 3
        time.sleep(1)
    assert ran_apart(home)


def processes(schedule: Scheduled) -> list[psutil.Process]:
    """The schedule's, with all that it started: the server, and what runs."""
    parent = psutil.Process(schedule.process.pid)
    return [parent, *parent.children(recursive=True)]


def send(found: Sequence[psutil.Process], number: signal.Signals) -> None:
    for each in found:
        if each.is_running():
            os.kill(each.pid, number)


def test_after_standing_still_few_catch_up(home: Home, schedule: Scheduled) -> None:
    until_one_runs(home, schedule)
    frozen = processes(schedule)
    send(frozen, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    thawed = datetime.now(UTC)
    send(frozen, signal.SIGCONT)

    def missed() -> list[str]:
        """The states of runs that came due while it stood still."""
        found: list[dict[str, Any]] = home.flow_runs("housekeeping")  # type: ignore[assignment]
        still = timedelta(seconds=STOPPED_SECONDS)
        return [run["state_name"] for run in found if thawed - still < due(run) < thawed]

    until(
        lambda: set(missed()) <= {"Completed"} and not waiting(home, thawed),
        "catch-up",
        240,
        lambda: schedule.output,
    )
    assert len(missed()) <= 2 and ran_apart(home)
