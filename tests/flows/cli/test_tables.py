"""Tables of runs in narrow terminals and in pipes."""

import io
import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from flows.cli.output import print_json, print_table
from sentiflow.console import Console
from sentiflow.data.table import TableOptions
from sentiflow.reports.blocks import Table
from sentiflow.run.record import value_text
from sentiflow.settings import Settings

NAME = "sweep-seed+4changes-sample-seed0-261125-184954"  # 46 characters
BLOCK = Table(("id", "name", "accuracy"), [("5cdbbdcb", NAME, "57.70%"), ("e6a1ff02", "a\x1b[31m[red]", "-")], 2)


def printed(block: Table, width: int, *, terminal: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    print_table(block, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_an_id_stays_whole_in_a_narrow_terminal_and_steers_it_never(width: int) -> None:
    lines = printed(BLOCK, width)
    assert all(len(line) <= width for line in lines)
    assert [line[:8] for line in lines if line[:8].strip()] == [
        "id      "[: len(lines[0][:8])],
        "5cdbbdcb",
        "e6a1ff02",
    ]
    assert r"a\x1b[31m[red]" in lines[-1]


def test_a_pipe_gets_a_line_a_row_however_wide() -> None:
    wide = Table(BLOCK.heading, [("5cdbbdcb", "n" * 300, "57.70%")], 2)
    assert printed(wide, 60, terminal=False)[1] == f"5cdbbdcb  {'n' * 300}    57.70%"


@pytest.mark.parametrize(
    ("value", "told"),
    [(40041.0, "40,041"), (375603.27, "375,603"), (0.123456, "0.1235"), (4.9e-05, "4.9e-05"), (None, ""),
     (float("nan"), ""), (1e20, "1e+20"), (-1234.5, "-1,234")],
)  # fmt: skip
def test_numbers_are_short(value: float | None, told: str) -> None:
    assert value_text(value) == told


def test_json_holds_any_name_and_steers_no_terminal() -> None:
    name = "a\x1b]0;PWNED\x07\x9b\x7f\u202e\udc80\nb"
    file = io.StringIO()
    print_json(Console(file=file), [{"name": name}])
    assert json.loads(file.getvalue()) == [{"name": name}]
    assert all(" " <= char <= "~" or char == "\n" for char in file.getvalue())


def test_json_has_whole_numbers_times_with_zone_and_no_settings() -> None:
    @dataclass
    class Result:
        loss: float
        at: datetime
        path: Path
        table: TableOptions
        settings: Settings = field(repr=False)

    def printed(value: object) -> Any:
        print_json(Console(file=(file := io.StringIO())), value)
        return json.loads(file.getvalue())

    table, at = TableOptions(text_column="review"), datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    result = Result(1 / 3, at, Path("a/b"), table, Settings())
    told = {"loss": 1 / 3, "at": "2026-01-02T02:00:00+00:00", "path": "a/b", "table": table.model_dump()}
    assert printed({1: (result, math.nan, None)}) == {"1": [told, None, None]}
    with pytest.raises(TypeError, match="Settings"):
        print_json(Console(file=io.StringIO()), {"all": Settings()})
