"""Schedules as Prefect knows them, and the moments that they name."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, NoSchedule, RRuleSchedule
from prefect.server.schemas.schedules import SCHEDULE_TYPES
from pydantic import TypeAdapter, ValidationError

from sentiment.errors import UsageError
from sentiment.schedules import EXPECTED, Deployment, Schedule

PrefectSchedule: TypeAlias = CronSchedule | IntervalSchedule | RRuleSchedule | NoSchedule

# Slots of an interval stay where they are when a deployment is written anew: every 6h is 0, 6, 12 and 18 o'clock.
_ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)


def check(table: Sequence[Deployment]) -> None:
    """Judge the cron lines of all deployments, before a server is started for them.

    Raises:
        UsageError: one is malformed.
    """
    for each in table:
        if each.schedule is not None:
            as_prefect(each.schedule, f"The schedule of {each.flow}")


def as_prefect(schedule: Schedule, what: str) -> PrefectSchedule:
    """The schedule for Prefect.

    Args:
        schedule: from a setting or an option.
        what: its name, for the message.

    Raises:
        UsageError: the cron line is malformed, or names a day that never comes.
    """
    if not schedule.cron:
        return IntervalSchedule(interval=schedule.interval, anchor_date=_ANCHOR, timezone="UTC")
    try:
        made = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    except ValidationError as err:
        raise UsageError(f"{what}: expected {EXPECTED}, got {schedule.cron!r}.") from err
    try:
        first_slot(made, datetime.now(UTC))
    except ValueError as err:  # it cannot be told from the line alone: the 30th of February
        raise UsageError(f"{what}: {schedule.cron!r} names a moment that never comes.") from err
    return made


def first_slot(schedule: PrefectSchedule, after: datetime) -> datetime | None:
    """The first moment of a schedule later than another; None when there is none."""
    if isinstance(schedule, NoSchedule):
        return None
    server_side: SCHEDULE_TYPES = TypeAdapter(SCHEDULE_TYPES).validate_python(schedule.model_dump())
    found = asyncio.run(server_side.get_dates(n=1, start=after + timedelta(microseconds=1)))
    return found[0].astimezone(UTC) if found else None
