from datetime import datetime

import pytest

from sentiflow.errors import UsageError
from sentiflow.orchestration.deployments import as_prefect, first_slot, parse_schedule


def first(text: str, after: str, timezone: str = "UTC") -> str:
    schedule = parse_schedule(text, timezone, "--train")
    assert schedule is not None
    found = first_slot(as_prefect(schedule, "--train"), datetime.fromisoformat(after))
    assert found is not None
    return found.isoformat(timespec="seconds")


def test_a_cron_line_follows_the_clocks_of_its_zone() -> None:
    """Three in Berlin is one hour before UTC in winter, two in summer (from 29 March 2026 on)."""
    assert first("0 3 * * *", "2026-03-27T12:00:00+00:00", "Europe/Berlin") == "2026-03-28T02:00:00+00:00"
    assert first("0 3 * * *", "2026-03-29T12:00:00+00:00", "Europe/Berlin") == "2026-03-30T01:00:00+00:00"


def test_intervals_stand_at_the_same_moments_whenever_they_are_made() -> None:
    assert first("every 6h", "2026-11-25T13:31:00+00:00") == "2026-11-25T18:00:00+00:00"


def test_a_slot_is_later_than_the_moment_even_if_that_is_one() -> None:
    assert first("every 6h", "2026-11-25T18:00:00+00:00") == "2026-11-26T00:00:00+00:00"


@pytest.mark.parametrize(
    ("line", "why"),
    [("61 * * * *", "expected a cron line"), ("H H * * *", "expected"), ("0 0 30 2 *", "never comes")],
)
def test_a_cron_line_that_cannot_be_is_refused(line: str, why: str) -> None:
    schedule = parse_schedule(line, "UTC", "--train")
    assert schedule is not None
    with pytest.raises(UsageError, match=why):
        as_prefect(schedule, "--train")
