from pathlib import Path

import pytest

from sentiflow.data.inputs import CsvTable
from sentiflow.data.rows import NO_TEXT, NOT_UTF8
from sentiflow.errors import UsageError


def texts(path: Path, content: bytes, *, column: str = "text", keep: tuple[str, ...] = ()) -> list[str]:
    """What each row gives: its text, or the reason why there is none."""
    path.write_bytes(content)
    table = CsvTable(path)
    table.select(column, keep)
    return [row.reason or row.text for row in table.rows()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.csv"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"text\ngood\nbad\n", ["good", "bad"]),
        (b"text\ngood\nbad", ["good", "bad"]),  # no line break at the end
        (b"text\r\ngood\r\nbad\r\n", ["good", "bad"]),
        (b"text\rgood\rbad\r", ["good", "bad"]),
        (b"\xef\xbb\xbftext\ngood\n", ["good"]),  # a byte order mark is no part of the name
        (b'text,n\n"two\nlines, ""quoted""",1\n', ['two\nlines, "quoted"']),
        (b'text\n"a\r\nb"\n', ["a\r\nb"]),
        (b"text\na\x00b\n", ["a\x00b"]),
        ("text\nна\u2028me 😀\n".encode(), ["на\u2028me 😀"]),  # a line separator of Unicode ends no row
        (b"text\n\n\ngood\n\n", ["good"]),  # blank lines are no rows
        (b"text\nNaN\n", ["NaN"]),  # in a CSV, a text like any other
    ],
)
def test_rows_are_read_as_written(path: Path, content: bytes, expected: list[str]) -> None:
    assert texts(path, content) == expected


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        (b"text;n", ";"),
        (b"text\tn", "\t"),
        (b"\xef\xbb\xbf\r\ntext;n", ";"),
        (b'text;"n, and\nmore"', ";"),  # a comma in quotes separates nothing
        (b"text\tn\tm;o", "\t"),
        (b"text,n;m;o", ","),
        (b'"text;n"', ","),
        (b"text", ","),
    ],
)
def test_the_header_says_what_separates_the_columns(path: Path, header: bytes, separator: str) -> None:
    path.write_bytes(header + b"\ngood,\tbad;\n")
    assert CsvTable(path).separator == separator


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_change_nothing_else(path: Path, separator: str) -> None:
    content = 'n,text\n1,"two\nlines; a\ttab"\n2,"good" film\n3,nice\n4,"so, so"\n5,a,b\n\n6,end\n'
    path.write_text(content.replace(",", separator), encoding="utf-8")
    table = CsvTable(path)
    table.select("text", ["n"])
    assert [(row.text, row.reason, row.value, row.line, row.columns) for row in table.rows()] == [
        ("two\nlines; a\ttab", "", "", 2, ("1",)),
        ("", f"not CSV: '{separator}' expected after '\"' in line 4", "", 4, ()),
        ("nice", "", "", 5, ("3",)),
        (f"so{separator} so", "", "", 6, ("4",)),
        ("", "wrong number of fields: 3 instead of 2", f"5{separator}a{separator}b", 7, ()),
        ("end", "", "", 9, ("6",)),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b",1", NO_TEXT),
        (b'"",1', NO_TEXT),
        (b" \t,1", NO_TEXT),
        (b"caf\xe9,1", NOT_UTF8),
        (b"\xed\xa0\x80,1", NOT_UTF8),  # half a surrogate pair, as some encoders write it
        (b"good", "wrong number of fields: 1 instead of 2"),
        (b"good,bad,1", "wrong number of fields: 3 instead of 2"),
    ],
)
def test_a_row_that_cannot_be_scored_is_told_why_and_costs_no_other(path: Path, row: bytes, reason: str) -> None:
    assert texts(path, b"text,n\ngood,1\n" + row + b"\nbad,2\n") == ["good", reason, "bad"]


TOO_LONG = "not CSV: field larger than field limit (50) in line {}"


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_may_be_as_long_as_the_longest_text(
    path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr("sentiflow.files.LONGEST", 50)
    assert texts(path, b"text\n" + b"x" * 50 + b"\n" + b"y" * 50 + end) == ["x" * 50, "y" * 50]
    assert texts(path, b"text\n" + b"x" * 51 + b"\n" + b"y" * 51 + end) == [TOO_LONG.format(k) for k in (2, 3)]


@pytest.mark.parametrize("limit", [10_000, 60])
def test_a_quote_that_is_never_closed_ends_the_reading_and_names_its_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Whether the end of the file or the longest text that is allowed comes first: no row behind it is lost."""
    monkeypatch.setattr("sentiflow.files.LONGEST", limit)
    path.write_text('text,n\n"two\nlines",1\n\ngood,1\n"bad,2\n' + "film,3\n" * 20, encoding="utf-8")
    table = CsvTable(path)
    table.select("text")
    rows = table.rows()
    assert [next(rows).text, next(rows).text] == ["two\nlines", "good"]
    with pytest.raises(UsageError, match="line 6 opens a quote"):
        next(rows)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"review;stars", r"no column text; there are: review, stars"),
        (b"review|stars", r"no column text; there are: review\|stars"),
        (b"review,stars", r"no column text; there are: review, stars"),
        (b"text,n,text", r"the column text may mean text or text"),
        (b"Text,n, TEXT", r"the column text may mean Text or  TEXT"),
        (b'"text', r"line 1 opens a quote that is never closed"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(path: Path, header: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        texts(path, header + b"\ngood,1\n")
