import json

import pytest

from sentiflow.data.rows import MOST, TOO_LONG, Reject, beginning, why_not


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
    assert (why_not("a" * MOST), why_not("a" * (MOST + 1))) == ("", TOO_LONG)
