"""Samples in files: blind, and read back as they were filled in."""

import csv
from pathlib import Path

import pytest

from sentiflow.errors import UsageError
from sentiflow.monitoring.labelling import csv_table, export, read_labels
from tests.sentiflow.monitoring.test_accuracy import sample

ASKED = sample(0.123456, 0.987654, 0.5, population=[10, 20])


def test_an_export_has_no_word_of_the_model(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    export(ASKED, file)
    content = file.read_text()
    assert all(each.text in content and each.id in content for each in ASKED.texts)
    assert not any(word in content for word in ("0.12", "0.98", "stratum", "score", "version", "good", "bad"))
    assert file.stat().st_mode & 0o077 == 0


def test_a_filled_table_is_read_and_empty_rows_are_left_out(tmp_path: Path) -> None:
    export(ASKED, file := tmp_path / "texts.csv")
    rows = list(csv.reader(file.open()))
    rows[1][2], rows[2][2] = "good", " cannot tell "
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    assert read_labels([ASKED], file)[1] == {"text-0": "good", "text-1": "cannot tell"}
    with file.open("a", newline="") as lines:
        csv.writer(lines).writerow(rows[1])
    assert read_labels([ASKED], file)[1] == {"text-0": "good", "text-1": "cannot tell"}, (
        "equal labels of a text are one"
    )
    with file.open("a", newline="") as lines:
        csv.writer(lines).writerow([*rows[1][:2], "bad"])
    with pytest.raises(UsageError, match="text-0 has another label before"):
        read_labels([ASKED], file)


def test_texts_of_any_characters_and_length_are_read_back(tmp_path: Path) -> None:
    texts = "a\u2028b\x0cc\x85d", "x" * 1_000_000, '"q",\r\n;'
    content = csv_table([("id", "text", "label"), *((f"text-{k}", text, "good") for k, text in enumerate(texts))])
    (file := tmp_path / "texts.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert read_labels([ASKED], file)[1] == dict.fromkeys(("text-0", "text-1", "text-2"), "good")


def test_a_text_is_no_formula_of_a_spreadsheet(tmp_path: Path) -> None:
    texts = [
        each.model_copy(update={"text": text})
        for each, text in zip(ASKED.texts, ("=1+1", " @a", "a=b"), strict=True)
    ]
    export(ASKED.model_copy(update={"texts": texts}), file := tmp_path / "texts.csv")
    assert [row[1] for row in csv.reader(file.open())] == ["text", "'=1+1", "' @a", "a=b"]


@pytest.mark.parametrize(
    "content",
    ["id;label\ntext-0;good\n", "ID,Text,Label\ntext-0,x,Good\ntext-1,y,\n,,\n", "id\tlabel\ntext-0\tGOOD\n"],
)
def test_a_table_is_read_as_other_tables_are(content: str, tmp_path: Path) -> None:
    """Spreadsheets write semicolons in many countries, and people write labels and columns with capitals."""
    (file := tmp_path / "texts.csv").write_text(content)
    assert read_labels([ASKED], file) == (ASKED, {"text-0": "good"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,text,label\ntext-9,x,good\n", "no text 'text-9'"),
        ("id,text,label\ntext-0,x,great\n", "unknown label 'great'"),
        ("text\nx\n", "no column label; no column id; there are: text"),
        ('id,text,label\ntext-0,"x"y,good\n', "line 2: not CSV"),
        ("id,text,label\ntext-0,x,,good\n", "line 2: wrong number of fields"),
        ("", "is empty"),
        ("id,text,label\ntext-0,x,\n", "has no label"),
    ],
)
def test_what_does_not_fit_is_refused_whole(content: str, told: str, tmp_path: Path) -> None:
    (file := tmp_path / "texts.csv").write_text(content)
    with pytest.raises(UsageError, match=told):
        read_labels([ASKED], file)


def test_labels_of_an_earlier_sample_are_its_own(tmp_path: Path) -> None:
    """Drift may draw another one while a person fills a table in."""
    texts = [each.model_copy(update={"id": f"later-{each.id}"}) for each in ASKED.texts]
    later = ASKED.model_copy(update={"number": 2, "texts": texts})
    for name, number in (("text-2", 1), ("later-text-2", 2)):
        (file := tmp_path / "done.csv").write_text(f"id,label\n{name},good\n")
        found, given = read_labels([ASKED, later], file)
        assert (found.number, given) == (number, {name: "good"})
