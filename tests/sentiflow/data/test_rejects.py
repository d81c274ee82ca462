import json
from pathlib import Path

import pytest

from sentiflow.data.rows import (
    NOT_UTF8,
    TOO_LONG,
    Reject,
    beginning,
    count_left_out,
    count_reasons,
    hints_for,
    kind_of,
    why_not,
)
from sentiflow.files import LONGEST


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a" * 300, "a" * 200),
        (b"caf\xe9", "caf\\xe9"),
        ("caf\udce9", "caf\\xe9"),  # a byte that was no UTF-8
        ("a\ud800", "a\\ud800"),  # half a pair
        (1.5, "1.5"),
    ],
)
def test_the_beginning_of_a_value_is_valid_text(value: object, expected: str) -> None:
    assert beginning(value) == expected


def test_a_reject_is_one_line_of_plain_characters() -> None:
    line = Reject(3, 5, "", "no text", "\u2028é\n").to_json()
    assert line.isascii() and "\n" not in line
    assert json.loads(line) == {"row": 3, "line": 5, "reason": "no text", "value": "\u2028é\n"}
    assert json.loads(Reject(3, 0, "a.txt", "no text", "").to_json()) == {
        "row": 3,
        "source": "a.txt",
        "reason": "no text",
        "value": "",
    }


def test_a_text_too_long_to_hold_is_told_so() -> None:
    assert (why_not("a" * LONGEST), why_not("a" * (LONGEST + 1))) == ("", TOO_LONG)
    assert TOO_LONG == "longer than 33,554,432 characters"


def test_rows_that_are_left_out_are_counted_with_their_labels() -> None:
    assert count_left_out({"3": 600, "": 8}) == "608 rows left out (label 3, none)"
    assert count_left_out({"unsure": 1}) == "1 row left out (label unsure)"


def test_reasons_are_counted_without_their_details() -> None:
    assert [kind_of(reason) for reason in ("no text", "unknown label: 7: 8")] == ["no text", "unknown label"]
    assert count_reasons({"no text": 1_200, "not UTF-8": 1}) == "1,200 no text, 1 not UTF-8"


@pytest.mark.parametrize(
    ("name", "hint"), [("a.csv", "iconv"), ("a.ndjson", "iconv"), ("a.parquet", "Write those")]
)
def test_the_hint_about_an_encoding_is_for_files_of_text(name: str, hint: str) -> None:
    assert hint in hints_for([NOT_UTF8], Path(name))[0]
