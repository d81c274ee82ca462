import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sentiflow.data.readers import JsonLines
from sentiflow.data.rows import NO_TEXT, NOT_UTF8, TOO_LONG
from sentiflow.errors import UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


def outcomes(path: Path, *lines: bytes) -> list[str]:
    """What each row gives: its text, or the reason why there is none."""
    path.write_bytes(b"\n".join(lines))
    table = JsonLines(path)
    table.select("text")
    return [row.reason or row.text for row in table.rows()]


GOOD = b'{"text": "good"}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": null}', NO_TEXT),
        (b'{"text": NaN}', NO_TEXT),
        (b'{"text": 5}', "not text: int"),
        (b'{"text": ["good"]}', "not text: list"),
        (b'{"text": ""}', NO_TEXT),
        (b'{"text": " \\n"}', NO_TEXT),
        (b'{"text": "caf\xe9"}', NOT_UTF8),
        (b'{"text": "\\ud83d"}', NOT_UTF8),
        (b'{"text": "good"', "not JSON: Expecting ',' delimiter: line 1 column 16 (char 15)"),
        (b"good", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'["good"]', "not an object"),
        (b"[" * 300_000, "not JSON: maximum recursion depth exceeded"),
        (b'{"text": ' + b"[" * 300_000 + b"]" * 300_000 + b"}", "not JSON: maximum recursion depth exceeded"),
        (b'{"text": "good", "n": ' + b"9" * 5_000 + b"}",
         "not JSON: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
@pytest.mark.usefixtures("without_gc")
def test_a_row_that_cannot_be_scored_is_told_why_and_costs_no_other(path: Path, line: bytes, reason: str) -> None:
    first, found, last = outcomes(path, GOOD, line, GOOD)
    assert (first, last) == ("good", "good") and found.startswith(reason)


def test_blank_lines_a_mark_in_front_and_carriage_returns_are_no_rows(path: Path) -> None:
    assert outcomes(path, b"\xef\xbb\xbf" + GOOD + b"\r", b"", b" \t\r", GOOD, b"") == ["good", "good"]


def test_any_unicode_arrives_escaped_or_not(path: Path) -> None:
    text = "Ünï — 😀 مرحبا \u2028 \u0000"
    lines = [json.dumps({"text": text}, ensure_ascii=ascii).encode() for ascii in (True, False)]
    assert outcomes(path, *lines) == [text, text]


def test_a_line_may_be_as_long_as_the_longest_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end included; a line that is longer by one costs no other."""
    monkeypatch.setattr("sentiflow.data.readers.LONGEST", 50)
    line = b'{"text": "' + b"x" * 37 + b'"}'
    assert outcomes(path, line, line[:-2] + b'x"}', GOOD, line[:-2] + b'x"}') == [
        "x" * 37,
        TOO_LONG,
        "good",
        "x" * 38,
    ]
    table = JsonLines(path)
    table.select("text")
    assert [row.line for row in table.rows()] == [1, 2, 3, 4]


def test_kept_values_are_text_or_json(path: Path, job: Callable) -> None:
    values = ["é", "", 7, 0.5, True, None, [1, "é"], {"k": None}]
    path.write_text(
        "".join(f"{json.dumps({'text': 'good', 'id': value})}\n" for value in values) + '{"text": "good"}\n'
    )
    kept = [row["id"] for row in job(path, keep=("id",)).scored]
    assert kept == ["é", "", "7", "0.5", "true", None, '[1, "é"]', '{"k": null}', None]


def test_columns_are_looked_for_in_the_first_thousand_lines(path: Path) -> None:
    path.write_text('{"first": 1}\n' + "{}\n" * 998 + '{"last": 1}\n{"beyond": 1}\n')
    with pytest.raises(UsageError, match="no column text; there are: first, last\\."):
        JsonLines(path).select("text")
