"""When the rows of a table were written, as its column of dates says."""

import re
from collections.abc import Sequence
from typing import Literal

from sentiflow.errors import UsageError

_DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y",
    "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_FORMS = (
    "ISO8601",
    *(day + time for day in _DAYS for time in _TIMES),
    *("%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %Z"),  # Twitter's, mail's
)
_UNIX: dict[int, Literal["s", "ms"]] = {10: "s", 13: "ms"}  # units of a number of so many digits
_CHINESE = re.compile(r"\s*[年月]\s*")
_HINT = "Write all dates alike, as 2026-03-01, or name another column: --date-column NAME"
_NUMBER = re.compile(r"[+-]?\d*[.,]?\d*")


def moments(dates: Sequence[str], places: Sequence[str]) -> list[str]:
    """The dates of a column in UTC, as ``2026-03-01T10:00:00``, whose order is that of time.

    All have one form: ISO 8601 with or without a time, what Excel, Twitter and mail write, or Unix time.

    Args:
        dates: as they are written, at least one.
        places: where each stands, for people.

    Raises:
        UsageError: no form fits all of them, or two do that mean different days.
    """
    import pandas as pd  # half a second

    read = pd.Series([_CHINESE.sub("-", date).replace("日", " ").strip() for date in dates])
    unix = _UNIX.get(len(read[0])) if read[0].isdigit() else None
    if unix:
        numbers = read.where(read.str.fullmatch(rf"\d{{{len(read[0])}}}"))
        tried = [pd.to_datetime(pd.to_numeric(numbers), unit=unix, errors="coerce", utc=True)]
    else:
        of_first = [form for form in _FORMS if pd.notna(pd.to_datetime(read[0], format=form, errors="coerce"))]
        tried = [pd.to_datetime(read, format=form, errors="coerce", utc=True) for form in of_first]
    found = [each for each in tried if each.notna().all()]
    if not found:
        wrong = max((int(each.isna().argmax()) for each in tried), default=0)
        what = f"{dates[wrong]:.40}"
        raise UsageError(f"{places[wrong]}: {what!r} is no date, or of another form than others", _HINT)
    for other in found[1:]:
        if (differs := found[0] != other).any():
            example = f"{dates[int(differs.argmax())]:.40}"
            raise UsageError(f"dates such as {example!r} may begin with the day or with the month", _HINT)
    return [str(moment) for moment in found[0].dt.strftime("%Y-%m-%dT%H:%M:%S")]


def look_like_dates(values: Sequence[str]) -> bool:
    """Whether these are dates of one form, numbers aside."""
    if not values or any(_NUMBER.fullmatch(value) for value in values):
        return False
    try:
        moments(values, [""] * len(values))
    except UsageError as err:
        return "may begin" in str(err)
    return True
