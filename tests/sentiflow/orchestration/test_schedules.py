from datetime import timedelta

import pytest

from sentiflow.errors import UsageError
from sentiflow.orchestration.deployments import Schedule, parse_schedule


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
    assert schedule is not None
    assert (schedule.interval, str(schedule)) == (timedelta(seconds=seconds), told)


def test_a_cron_line_keeps_its_time_zone() -> None:
    assert parse_schedule(" 0  3 * * 1 ", "Europe/Berlin", "--train") == Schedule(
        cron="0 3 * * 1", timezone="Europe/Berlin"
    )


@pytest.mark.parametrize("text", ["off", "OFF", " off "])
def test_off_is_no_schedule(text: str) -> None:
    assert parse_schedule(text, "UTC", "--train") is None


@pytest.mark.parametrize(
    "text", ["", "every 0s", "every 5", "every 5y", "every -5s", "0 3 * *", "0 0 3 * * 1", "daily"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--train: expected a cron line") as err:
        parse_schedule(text, "UTC", "--train")
    assert "every 6h" in err.value.hint
