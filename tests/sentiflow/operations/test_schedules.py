from datetime import datetime, timedelta

import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from sentiflow.errors import UsageError
from sentiflow.operations.deployments import describe_schedule, next_time, parse_schedule


@pytest.mark.parametrize(
    ("text", "seconds", "told"),
    [
        ("every 30s", 30, "every 30s"),
        ("every 15m", 900, "every 15m"),
        ("every 90m", 5_400, "every 90m"),
        ("every 6 h", 21_600, "every 6h"),
        ("every 7d", 604_800, "every 7d"),
        ("every  86400s", 86_400, "every 1d"),
    ],
)
def test_an_interval_is_read_and_told_in_the_largest_unit_that_fits(text: str, seconds: int, told: str) -> None:
    schedule = parse_schedule(text, "Europe/Berlin", "--train")
    assert isinstance(schedule, IntervalSchedule)
    assert (schedule.interval, describe_schedule(schedule)) == (timedelta(seconds=seconds), told)


def test_a_cron_line_keeps_its_time_zone() -> None:
    schedule = parse_schedule(" 0  3 * * 1 ", "Europe/Berlin", "--train")
    assert schedule == CronSchedule(cron="0 3 * * 1", timezone="Europe/Berlin")
    assert describe_schedule(schedule) == "0 3 * * 1 (Europe/Berlin)"


@pytest.mark.parametrize("text", ["off", "OFF", " off "])
def test_off_is_no_schedule(text: str) -> None:
    assert parse_schedule(text, "UTC", "--train") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "every 0s",
        "every 5",
        "every 5y",
        "every -5s",
        "0 3 * *",
        "0 0 3 * * 1",
        "daily",
        "61 * * * *",
        "H H * * *",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--train: expected a cron line") as err:
        parse_schedule(text, "UTC", "--train")
    assert "every 6h" in err.value.hint


def test_a_day_that_no_year_has_is_refused() -> None:
    with pytest.raises(UsageError, match="--train: .* never occurs"):
        parse_schedule("0 0 30 2 *", "UTC", "--train")


def first(text: str, after: str, timezone: str = "UTC") -> str:
    schedule = parse_schedule(text, timezone, "--train")
    assert schedule is not None
    found = next_time(schedule, datetime.fromisoformat(after))
    assert found is not None
    return found.isoformat(timespec="seconds")


def test_a_cron_line_follows_the_clocks_of_its_zone() -> None:
    """Three in Berlin is one hour before UTC in winter, two in summer (from 29 March 2026 on)."""
    assert first("0 3 * * *", "2026-03-27T12:00:00+00:00", "Europe/Berlin") == "2026-03-28T02:00:00+00:00"
    assert first("0 3 * * *", "2026-03-29T12:00:00+00:00", "Europe/Berlin") == "2026-03-30T01:00:00+00:00"


def test_intervals_stand_at_the_same_moments_whenever_they_are_made() -> None:
    assert first("every 6h", "2026-11-25T13:31:00+00:00") == "2026-11-25T18:00:00+00:00"


def test_the_next_time_is_later_than_the_moment_even_if_that_is_one() -> None:
    assert first("every 6h", "2026-11-25T18:00:00+00:00") == "2026-11-26T00:00:00+00:00"
