"""Tables of runs in narrow terminals and in pipes."""

import io
import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from flows.cli.tables import Column, cut_in_the_middle, fitting, print_columns, print_json, value_text
from sentiflow.console import Console
from sentiflow.data.table import TableOptions
from sentiflow.settings import Settings

NAME = "sweep-seed+4changes-sample-seed0-261125-184954"  # 46 characters


def columns(name: str = NAME) -> list[Column]:
    """As ``sentiflow runs`` has them: 8, 46, 8, 8 and 15 wide."""
    return [
        Column("id", ["5cdbbdcb"]),
        Column("name", [name], shrinks=True),
        Column("kind", ["training"], 4),
        Column("accuracy", ["57.70%"], right=True),
        Column("95% interval", ["54.61 to 60.73%"], 2),
    ]


def printed(width: int, *, terminal: bool = True, **asked: object) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    print_columns(columns(**asked), console)  # type: ignore[arg-type]
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_id_and_accuracy_stay_in_any_terminal_and_no_line_folds(width: int) -> None:
    heading, row, *left_out = printed(width)
    assert row.startswith("5cdbbdcb  sweep-") and "184954" in row and "57.70%" in row
    assert "accuracy" in heading and all(len(line) <= width for line in (heading, row))
    assert not left_out or left_out[0].startswith("Hidden columns")


def test_an_id_is_never_folded_however_many_columns_there_are() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None)
    wanted = [Column(f"a column {k}", [f"value {k}"]) for k in range(9)]
    print_columns([Column("id", ["5cdbbdcb"], whole=True), *wanted], console)
    assert "5cdbbdcb  " in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("width", "shown", "name"),
    [
        (60, ["id", "name", "accuracy", "95% interval"], 60 - 10 - 10 - 17),  # worth more than the kind
        (74, ["id", "name", "kind", "accuracy", "95% interval"], 74 - 10 - 10 - 10 - 17),
        (120, ["id", "name", "kind", "accuracy", "95% interval"], 46),
    ],
)
def test_a_name_leaves_two_thirds_to_others_and_takes_what_they_do_not_need(
    width: int, shown: list[str], name: int
) -> None:
    kept, _ = fitting(columns(), width)
    assert [column.heading for column in kept] == shown
    assert len(kept[1].cells[0]) == name


@pytest.mark.parametrize(("width", "cell"), [(20, "reviews-of-june"), (19, "revi..june")])
def test_a_cell_is_cut_to_its_most_where_not_all_columns_fit(width: int, cell: str) -> None:
    kept, _ = fitting([Column("dataset", ["reviews-of-june"], most=10), Column("n", ["123"])], width)
    assert kept[0].cells == [cell]


def test_a_pipe_gets_everything_uncut_however_wide() -> None:
    lines = printed(60, terminal=False, name="n" * 300)
    assert len(lines) == 2
    assert "n" * 300 in lines[1] and lines[1].endswith("54.61 to 60.73%")


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("tuned-imdb", 10, "tuned-imdb"),
        ("tuned-imdb-seed0", 10, "tune..eed0"),
        ("tuned-imdb-seed0", 9, "tune..ed0"),
        ("評" * 6, 10, "評評..評評"),  # each takes two cells
    ],
)
def test_a_text_is_cut_in_its_middle(text: str, width: int, cut: str) -> None:
    assert cut_in_the_middle(text, width) == cut


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


def test_a_name_in_a_table_is_one_line_and_steers_no_terminal() -> None:
    file = io.StringIO()
    print_columns([Column("name", ["a\x1b[31m[red]\nforged", "b"])], Console(file=file))
    assert [line.rstrip() for line in file.getvalue().splitlines()] == ["name", r"a\x1b[31m[red]\nforged", "b"]
