"""What runs unattended, and when."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sentiment.errors import UsageError
from sentiment.settings_unattended import OFF

EXPECTED = "a cron line (0 3 * * 1), an interval (every 30s, 15m, 6h or 7d), or off"

NAME = "sentiflow"
"""Of every deployment: ``train/sentiflow`` and so on."""

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True)
class Schedule:
    """When something runs.

    Attributes:
        cron: a cron line, or empty for an interval.
        interval: between two runs, counted from the start of 2020 in UTC; zero for a cron line.
        timezone: what a cron line's hours are hours of.
    """

    cron: str = ""
    interval: timedelta = timedelta(0)
    timezone: str = "UTC"

    def __str__(self) -> str:
        if self.cron:
            return f"{self.cron} ({self.timezone})"
        seconds = round(self.interval.total_seconds())
        unit = max((unit for unit in _SECONDS if seconds % _SECONDS[unit] == 0), key=_SECONDS.__getitem__)
        return f"every {seconds // _SECONDS[unit]}{unit}"


@dataclass(frozen=True)
class Trigger:
    """An event that starts a run, and the parameters that differ then."""

    name: str
    event: str
    resource: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """A flow with its parameters and its schedule.

    Attributes:
        concurrency_limit: runs at a time, beyond which others wait; None for no limit.
    """

    flow: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None
    concurrency_limit: int | None = None
    triggers: tuple[Trigger, ...] = ()
    tags: tuple[str, ...] = (NAME,)

    @property
    def entrypoint(self) -> str:
        """The flow's module and name, as an import would find it."""
        return f"flows.{self.flow}.{self.flow}"

    @property
    def full_name(self) -> str:
        """What Prefect calls it."""
        return f"{self.flow}/{NAME}"


def parse_schedule(text: str, timezone: str, what: str) -> Schedule | None:
    """Read a schedule; None for ``off``. A cron line's fields are counted here, and judged by whoever runs it.

    Args:
        text: a cron line, ``every 30s`` and the like, or ``off``.
        timezone: of a cron line.
        what: the setting or option, for the message.

    Raises:
        UsageError: it is none of these.

    Example:
        >>> str(parse_schedule("every 3600s", "UTC", "--train")), parse_schedule("off", "UTC", "--train")
        ('every 1h', None)
    """
    text = " ".join(text.split())
    if text.lower() == OFF:
        return None
    if found := re.fullmatch(r"every (\d{1,6}) ?([smhd])", text):
        seconds = int(found[1]) * _SECONDS[found[2]]
        if seconds:
            return Schedule(interval=timedelta(seconds=seconds))
    elif re.fullmatch(r"@[a-z]+", text) or len(text.split()) == 5:
        return Schedule(cron=text, timezone=timezone)
    raise UsageError(f"{what}: expected {EXPECTED}, got {text!r}.", f'For example: {what} "every 6h"')
