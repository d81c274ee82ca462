"""Tests of dates of a user's rows, and of the newest fifth that tests."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data.dates import moments
from sentiflow.data.table import Table, TableOptions, as_options, read_table
from sentiflow.errors import UsageError


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["2026-03-01", "2026-03-01 10:05"], ["2026-03-01T00:00:00", "2026-03-01T10:05:00"]),
        (["2026-03-01T01:00:00+02:00"], ["2026-02-28T23:00:00"]),
        (["1.3.2026"], ["2026-03-01T00:00:00"]),
        (["2026年3月1日"], ["2026-03-01T00:00:00"]),
        (["2026/3/1 9:30"], ["2026-03-01T09:30:00"]),
        (["01/03/2026", "31/03/2026"], ["2026-03-01T00:00:00", "2026-03-31T00:00:00"]),  # the second is no month
        (["03/01/2026", "03/31/2026"], ["2026-03-01T00:00:00", "2026-03-31T00:00:00"]),
        (["3/31/26 2:05 PM"], ["2026-03-31T14:05:00"]),
        (["Mar 1, 2026"], ["2026-03-01T00:00:00"]),
        (["Tue Feb 24 11:35:52 -0800 2015"], ["2015-02-24T19:35:52"]),
        (["Tue, 24 Feb 2015 11:35:52 +0100"], ["2015-02-24T10:35:52"]),
        (["1424806552", "1424806553"], ["2015-02-24T19:35:52", "2015-02-24T19:35:53"]),
        (["1424806552123"], ["2015-02-24T19:35:52"]),
    ],
)
def test_dates_are_read_in_one_form(dates: list[str], expected: list[str]) -> None:
    assert moments(dates, dates) == expected


@pytest.mark.parametrize(
    ("dates", "named"),
    [
        (["2026-03-01", "soon", "2026-03-02"], "line 1: 'soon'"),
        (["1.3.2026", "2.3.2026", "2026-03-03"], "line 2: '2026-03-03'"),
        (["1424806552", "142480655"], "line 1: '142480655'"),
        (["01/02/2026", "03/04/2026"], "the day or with the month"),
    ],
)
def test_dates_of_two_forms_or_of_two_meanings_are_refused_with_their_place(dates: list[str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        moments(dates, [f"line {k}" for k in range(len(dates))])


def read(path: Path, **options: str) -> Table:
    return read_table(path, TableOptions(split="time", **options), path.with_name("rejects"))  # type: ignore[arg-type]


def table(folder: Path, lines: list[str], header: str = "text,label,when") -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


DAYS = [3, 9, 1, 10, 4, 6, 2, 8, 7, 5]
ROWS = [f"play part {day},{day % 2},2026-01-{day:02}" for day in DAYS]


def newest_of(found: Table) -> set[str]:
    return {row.text for row in found.rows if row.split == "test"}


def test_the_newest_fifth_tests_by_the_column_that_holds_dates(tmp_path: Path) -> None:
    found = read(table(tmp_path, ROWS))
    assert newest_of(found) == {"play part 9", "play part 10"}
    assert found.joined.sentences() == ["Taken for the dates: when", "The newest 2 texts test, from 2026-01-09 on"]


def test_of_equal_texts_the_oldest_counts_and_rows_of_one_day_stay_together(tmp_path: Path) -> None:
    again = ["Play part 1!,1,2026-01-20", "play a waltz,1,2026-01-09"]  # the first is no new text
    assert newest_of(read(table(tmp_path, [*again, *ROWS]))) == {"play part 9", "play part 10", "play a waltz"}


def test_dates_of_parquet_are_read_and_a_column_of_labels_is_none(tmp_path: Path) -> None:
    day = pa.array([20_000 + day for day in DAYS], pa.int32()).cast(pa.date32())
    columns = {"text": [f"play part {day}" for day in DAYS], "label": [day % 2 for day in DAYS], "on": day}
    pq.write_table(pa.table({**columns, "n": DAYS}), tmp_path / "t.parquet")
    assert newest_of(read(tmp_path / "t.parquet")) == {"play part 9", "play part 10"}
    with pytest.raises(UsageError, match="no column label of dates; there are: text, on, n"):
        read(tmp_path / "t.parquet", date_column="label")


def test_what_keeps_time_from_deciding_is_named(tmp_path: Path) -> None:
    two = [f"{row},2026-02-01" for row in ROWS]
    with pytest.raises(UsageError, match="several columns of dates: when, seen"):
        read(table(tmp_path, two, "text,label,when,seen"))
    assert len(newest_of(read(tmp_path / "t.csv", date_column="When"))) == 2
    with pytest.raises(UsageError, match="a newest fifth with both labels"):
        read(tmp_path / "t.csv", date_column="seen")
    with pytest.raises(UsageError, match="no column of dates"):
        read(table(tmp_path, [row[:-11] for row in ROWS], "text,label"))
    with pytest.raises(UsageError, match="the column split"):
        read(table(tmp_path, [f"{row},train" for row in ROWS], "text,label,when,split"))
    with pytest.raises(UsageError, match="--date-column: .*--split time"):
        as_options({"date_column": "when"})


def test_a_row_without_a_date_is_rejected(tmp_path: Path) -> None:
    found = read(table(tmp_path, [*ROWS, "play no part,1,"]), max_rejects="1")
    assert found.rejected is not None and found.rejected.reasons == {"no date": 1}
