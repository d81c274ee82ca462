"""Tests of a user's own table."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from sentiflow.data.table import (
    DEFAULT_OPTIONS,
    Labelled,
    Table,
    TableError,
    TableOptions,
    as_options,
    read_table,
    to_reviews,
)
from sentiflow.errors import UsageError
from tests.sentiflow.data.test_download import Steps


def texts(n: int) -> list[str]:
    return [f"film number {i}" for i in range(n)]


def rows(n: int = 10) -> list[tuple[str, str]]:
    return [(text, str(i % 2)) for i, text in enumerate(texts(n))]


def csv(folder: Path, lines: list[str], encoding: str = "utf-8", name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def table(folder: Path, pairs: list[tuple[str, str]], **options: str) -> Path:
    """A CSV of texts without commas or quotes, and labels."""
    return csv(folder, ["text,label", *(f"{text},{label}" for text, label in pairs)], **options)


def read(path: Path, **options: object) -> Table:
    return read_table(path, TableOptions(**options))  # type: ignore[arg-type]


def labels(path: Path, **options: object) -> list[int]:
    return [row.label for row in read(path, **options).rows]


def refused(path: Path, **options: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(path, **options)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    return caught.value


def test_a_csv_is_read_row_by_row(tmp_path: Path) -> None:
    read_rows = read(table(tmp_path, rows())).rows
    assert [row.text for row in read_rows] == texts(10)
    assert [row.label for row in read_rows] == [0, 1] * 5
    assert [row.row for row in read_rows] == list(range(1, 11))


def test_quoted_texts_keep_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    lines = ["label,text", '1,"Good, ""very"" good,\nindeed"', *(f"{label},{text}" for text, label in rows())]
    assert read(csv(tmp_path, lines)).rows[0].text == 'Good, "very" good,\nindeed'


@pytest.mark.parametrize("text", ["NA", "null", "None", "nan"])
def test_a_text_that_looks_like_a_missing_value_is_a_text(tmp_path: Path, text: str) -> None:
    assert read(table(tmp_path, [(text, "1"), *rows()])).rows[0].text == text


@pytest.mark.parametrize(
    ("negative", "positive"),
    [("0", "1"), ("0.0", "1.0"), ("neg", "pos"), ("negative", "positive"), ("Negative", "POSITIVE"), (" 0 ", " 1"),
     ("false", "true"), ("False", "True")],
)  # fmt: skip
def test_labels_of_a_csv_come_in_many_forms(tmp_path: Path, negative: str, positive: str) -> None:
    pairs = [(text, (negative, positive)[i % 2]) for i, text in enumerate(texts(10))]
    assert labels(table(tmp_path, pairs)) == [0, 1] * 5


@pytest.mark.parametrize("kind", [int, float, bool, str, "int8", "Int64", "boolean", "category"])
def test_labels_of_a_parquet_table_come_in_many_types(tmp_path: Path, kind: type | str) -> None:
    label = pd.Series([0, 1] * 5).astype(kind)
    pd.DataFrame({"text": texts(10), "label": label}).to_parquet(tmp_path / "mine.parquet")
    assert labels(tmp_path / "mine.parquet") == [0, 1] * 5


def test_json_lines_are_read_by_the_same_rules(tmp_path: Path) -> None:
    lines = [f'{{"text": "{text}", "label": {("false", 1)[i % 2]}}}' for i, text in enumerate(texts(10))]
    path = csv(tmp_path, [*lines[:5], "", '{"text": null, "label": 1}', *lines[5:]], name="mine.jsonl")
    made = read(path, max_rejects="1")
    assert [row.label for row in made.rows] == [0, 1] * 5
    assert [tuple(reject) for reject in made.rejects] == [(6, 7, "", "no text", '{"text": null, "label": 1}')]


@pytest.mark.parametrize("name", ["rating", " Rating", "RATING"])
def test_columns_and_labels_are_mapped(tmp_path: Path, name: str) -> None:
    lines = ["id,Review,rating", *(f"{i},{text},{('Bad', 'good')[i % 2]}" for i, text in enumerate(texts(10)))]
    path = csv(tmp_path, lines)
    assert labels(path, text_column="review", label_column=name, labels={"GOOD": 1, "bad": 0}) == [0, 1] * 5


def test_labels_that_are_mapped_replace_the_usual_ones(tmp_path: Path) -> None:
    """Red if a 1 of five stars counted as positive."""
    path = table(tmp_path, [(text, "15"[i % 2]) for i, text in enumerate(texts(10))])
    assert labels(path, labels={"1": 0, "5": 1}) == [0, 1] * 5


def test_rows_of_labels_to_skip_are_no_rejects_and_count_against_no_bound(tmp_path: Path) -> None:
    """4 of 14 rows are skipped; of the other 10 one is rejected, 10%."""
    stars = {"5": 1, "4": 1, "1": 0, "3": "skip", "unsure": "skip"}
    skipped = [("fair film", "3"), ("?!", "3"), ("fine film", "3"), ("film", "Unsure")]
    path = table(tmp_path, [*((text, "15"[i % 2]) for i, text in enumerate(texts(9))), *skipped, ("film", "2")])
    made = read(path, labels=stars, max_rejects="10%")
    assert [row.label for row in made.rows] == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert (made.left_out, [reject.row for reject in made.rejects]) == ({"3": 3, "unsure": 1}, [14])
    error = refused(path, labels=stars)
    assert "1 of 10 rows are rejected, 0 may be (--max-rejects 1%)" in str(error)
    assert "2 has no meaning yet: add 2=1, 2=0 or 2=skip to --labels." in error.hint


def test_a_row_inside_a_text_is_found_whatever_the_label_of_both(tmp_path: Path) -> None:
    """Red if a quote that is missing in a row to skip hid the row after it, or the other way round."""
    lines = [*(f"{text},{i % 2}" for i, text in enumerate(texts(10))), '"fair film,3', 'good film",1']
    lines += ['"bad film,0', 'so so",3']
    made = read(csv(tmp_path, ["text,label", *lines]), labels={"1": 1, "0": 0, "3": "skip"}, max_rejects="2")
    assert [reject.row for reject in made.rejects] == [11, 12] and not made.left_out


@pytest.mark.parametrize(
    "options",
    [{"labels": {"good": 1}}, {"labels": {"good": 1, "bad": "skip"}},
     {"labels": {"good": 1, "bad": 2}}, {"labels": {"a": 1, "b": 0, "B ": 1}},
     {"max_rejects": "-1"}, {"max_rejects": "some"},
     {"max_rejects": "9" * 5_000},
     {"max_rejects": "1.5"}, {"max_rejects": "150%"}, {"text_column": ""}, {"label_column": ""},
     {"textcolumn": "a"}],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TableOptions(**options)  # type: ignore[arg-type]


def test_columns_may_have_names_of_one_character(tmp_path: Path) -> None:
    path = csv(tmp_path, ["t,l", *(f"{text},{label}" for text, label in rows())])
    assert labels(path, text_column="t", label_column="l") == [0, 1] * 5


def test_the_usual_options_cannot_be_changed_by_who_uses_them() -> None:
    with pytest.raises(ValidationError):
        DEFAULT_OPTIONS.text_column = "review"  # type: ignore[misc]


def test_a_share_of_rejects_is_rounded_down() -> None:
    most = ("1%", "0.57%", "7")
    assert [TableOptions(max_rejects=each).allowed(10_000) for each in most] == [100, 57, 7]
    assert TableOptions(max_rejects="0.57%").allowed(9_999) == 56


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"labels": {"good": 5}}, "labels: expected 0, 1 or 'skip'"),
        ({"max_rejects": "some", "text_column": ""}, "text_column: expected a text"),
        ({"textcolumn": "a"}, "textcolumn: unknown"),
    ],
)
def test_the_first_option_that_cannot_be_read_is_named(given: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        as_options(given, "The parameter table")
    assert str(caught.value.args[0]) == f"The parameter table cannot be read: {problem}."
    assert as_options({"text_column": "a"}, "The parameter table") == TableOptions(text_column="a")


def test_progress_follows_the_bytes_of_the_table(tmp_path: Path) -> None:
    path, progress = table(tmp_path, rows()), Steps()
    read_table(path, TableOptions(), progress)
    size = path.stat().st_size
    assert (progress.begun, sum(progress.steps)) == ([("Reading mine.csv", size)], size)


def test_rejects_may_be_so_many(tmp_path: Path) -> None:
    """Of 250 rows 2 are 0.8%, and 3 are 1.2%."""
    good = rows(247)
    made = read(table(tmp_path, [*good, (texts(1)[0], "1"), ("film", "2"), ("", "1")]))
    assert [(each.row, each.line, each.reason, each.value) for each in made.rejects] == [
        (249, 250, "unknown label", "2"), (250, 251, "no text", ""),
    ]  # fmt: skip
    path = table(tmp_path, [*good, ("film", ""), ("film", "2"), ("", "1")])
    assert "3 of 250 rows are rejected, 2 may be (--max-rejects 1%)" in str(refused(path))
    assert len(read(path, max_rejects="3").rows) == 247
    assert len(read(path, max_rejects="1.2%").rows) == 247


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("text,label", ['"good film,1', 'bad film",0']),
        ("id,text,label,lang", ['7,"good film,1,en', '8,bad film",0,en']),
        ("label,text", ['1,"good film', '0,bad film"']),
        ("id,label,text", ['7,1,"good film', '8,0,bad film"']),
        ("label,id,text", ['1,7,"good film', '0,8,bad film"']),
        ("label,text", ['1,"good film', '0,12 angry men"']),
        ("text,label,split", ['"good film,1,train', 'bad film",0,train']),
        ("text,label", ['"good film', "indeed,1", 'bad film",0']),
    ],
)
def test_a_quote_that_makes_one_text_of_two_rows_is_found_by_the_label_inside(
    tmp_path: Path, header: str, rows: list[str], separator: str
) -> None:
    """Valid CSV: no rule of the format shows it."""
    first_label = header.index("label") < header.index("text")
    names = header.split(",")
    sound = [
        ",".join({
            "id": "3", "lang": "en", "split": "test" if k < 60 else "train", "label": str(k % 2),
            "text": f'"the plot, {k}\nsecond line, 1\nand, 0, more"',
        }[name] for name in names)
        for k in range(120)
    ]  # fmt: skip
    path = tmp_path / "mine.csv"
    content = "\n".join([header, *sound, *rows]) + "\n"
    path.write_text(content.replace(",", separator), encoding="utf-8")
    made = read_table(path, TableOptions())
    assert len(made.rows) == 120
    (reject,) = made.rejects
    assert (reject.row, reject.reason) == (121, "a row inside the text: is a quote missing?")
    assert first_label or "good film" in reject.value


def test_a_number_with_a_comma_is_no_row(tmp_path: Path) -> None:
    texts = ('"A bad film.\n1,000 extras were hired."', '"It is dull:\n0,5 of five stars."')
    lines = [f"{k % 2},{texts[k % 2]}" for k in range(20)]
    made = read(csv(tmp_path, ["label,text", *(f"{k % 2},film {k}" for k in range(10)), *lines]))
    assert (len(made.rows), made.rejects) == (30, [])


def test_a_label_and_digits_behind_a_semicolon_are_no_number(tmp_path: Path) -> None:
    """Red if a row whose text begins with three digits is taken for one."""
    lines = ["label;text", *(f"{k % 2};film {k}" for k in range(10)), '1;"A good film.', '0;300 men"']
    made = read(csv(tmp_path, lines), max_rejects="1")
    assert [(each.row, each.reason) for each in made.rejects] == [
        (11, "a row inside the text: is a quote missing?")
    ]


def test_prose_with_a_label_in_it_is_no_row(tmp_path: Path) -> None:
    """A label that begins the text, that has a space behind it, or that stands alone."""
    text = '"pos,it is film {}.\npos, as I said,twice\npos"'
    lines = [f"{('neg', 'pos')[k % 2]},{text.format(k)}" for k in range(20)]
    made = read(csv(tmp_path, ["label,text", *lines]))
    assert (len(made.rows), made.rejects) == (20, [])
    made = read(csv(tmp_path, ["text,label", *(f'"I give it\n1\nof {k}",{k % 2}' for k in range(20))]))
    assert (len(made.rows), made.rejects) == (20, [])


def test_a_line_that_ends_as_a_label_without_a_meaning_is_no_row(tmp_path: Path) -> None:
    lines = [f'"It was slow,dull\nand {k} hours long",{k % 2}' for k in range(20)]
    made = read(csv(tmp_path, ["text,label", *lines, "so so,dull"]), max_rejects="1")
    assert [(each.row, each.reason) for each in made.rejects] == [(21, "unknown label")]


def test_a_line_that_begins_with_a_word_and_a_comma_is_no_row(tmp_path: Path) -> None:
    lines = [f'{k % 2},"A film {k}.\nSlow,dull."' for k in range(20)]
    made = read(csv(tmp_path, ["label,text", *lines]))
    assert (len(made.rows), made.rejects) == (20, [])


def test_a_row_without_a_label_makes_no_line_that_ends_in_a_comma_a_row(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rows = [f'"the plot {k}, I must say,\nwas good","{("1", "0", "")[k % 3]}"' for k in range(30)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    made = read_table(path, TableOptions(labels={"1": 1, "0": 0, "": "skip"}))
    assert (len(made.rows), made.rejects, made.left_out) == (20, [], {"": 10})


def test_all_problems_are_listed_at_once_with_their_lines(tmp_path: Path) -> None:
    content = [
        b"text,label,split", b"good film,1,train", b'"two', b'lines",0,train', b"fine,perhaps,train", b",1,train",
        b"caf\xe9,1,test", b"a, b,0,train", b"?!,1,test", b"poor,0,dev", b"bad,,test", b"so so,Perhaps,test",
        b"odd,maybe,test", b"dull,0,test",
    ]  # fmt: skip
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\n".join(content))
    error = refused(path)
    assert str(error.args[0]).splitlines() == [
        f"{path} cannot be trained on: 9 of 12 rows are rejected, 0 may be (--max-rejects 1%)",
        "  the test split needs reviews of both labels, got 1 negative and 0 positive",
        "  unknown label (3 rows): line 5 ('perhaps'), line 12 ('Perhaps'), line 13 ('maybe')",
        "  no text (1 row): line 6",
        "  not UTF-8 (1 row): line 7 ('caf\\xe9')",
        "  wrong number of fields (1 row): line 8 (4 instead of 3)",
        "  no word in the text (1 row): line 9 ('?!')",
        "  unknown split (1 row): line 10 ('dev')",
        "  no label (1 row): line 11",
    ]
    assert error.hint.splitlines() == [
        f"If all of it has another encoding, save it as UTF-8: iconv -f cp1252 -t utf-8 {path} > utf8-mine.csv",
        "A text that contains the separator of the columns needs quotes around it.",
        "Known labels: 0, 1, negative, positive, neg, pos, false, true. "
        "Give others a meaning: --labels good=1,bad=0",
        "Known splits: train, validation, test. Without the column a fifth is set aside for the test.",
        "Rows without a label are left out by =skip: --labels good=1,bad=0,=skip",
        "Correct the rows, or allow more of them with --max-rejects.",
    ]
    assert isinstance(error, TableError) and [reject.line for reject in error.rejects] == [
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
    ]


def test_many_rows_of_a_kind_are_counted_and_different_values_shown(tmp_path: Path) -> None:
    path = table(tmp_path, [(text, "good" if i % 3 else "bad") for i, text in enumerate(texts(7))])
    error = refused(path)
    assert str(error.args[0]).splitlines() == [
        f"{path} cannot be trained on: 7 of 7 rows are rejected, 0 may be (--max-rejects 1%)",
        "  unknown label (7 rows): line 2 ('bad'), line 3 ('good') and 5 more",
    ]
    assert error.hint.splitlines() == [
        "Known labels: 0, 1, negative, positive, neg, pos, false, true. "
        "Give others a meaning: --labels good=1,bad=0",
        "Correct the rows, or allow more of them with --max-rejects.",
    ]


def test_three_different_values_of_a_kind_are_shown(tmp_path: Path) -> None:
    path = table(tmp_path, [*rows(), *(("film", label) for label in "abcd")])
    assert "unknown label (4 rows): line 12 ('a'), line 13 ('b'), line 14 ('c') and 1 more" in str(refused(path))


def test_missing_columns_are_listed_with_what_is_wrong_with_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"id,review,stars\n1,,5\n2,caf\xe9,5\n3,a, b,1\n")
    assert str(refused(path).args[0]).splitlines() == [
        f"{path} cannot be trained on: no column text; no column label; there are: id, review, stars.",
        "  not UTF-8 (1 row): line 3",
        "  wrong number of fields (1 row): line 4 (4 instead of 3)",
    ]


HINT = "Give the names of your columns: --text-column NAME; a training reads --label-column NAME, too."


@pytest.mark.parametrize(
    ("header", "message", "hint"),
    [
        ("review,label", "no column text; there are: review, label.", HINT),
        ("review,stars", "no column text; no column label; there are: review, stars.", HINT),
        (
            "text,stars",
            "no column label; there are: text, stars.",
            "Give the name of your column, for example --label-column rating.",
        ),
        ("text,label,label", "the column label appears twice.", "Give the names of your columns."),
        ("text,label,Label ", None, ""),  # one is written so
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, header: str, message: str | None, hint: str
) -> None:
    path = csv(
        tmp_path,
        [header, *(f"{text},{i % 2}{',' * header.count('Label') or ''}" for i, text in enumerate(texts(10)))],
    )
    if message is None:
        assert labels(path) == [0, 1] * 5
    else:
        error = refused(path)
        assert str(error.args[0]).splitlines()[0] == f"{path} cannot be trained on: {message}"
        assert error.hint.splitlines()[0] == hint


def test_labels_of_a_parquet_table_that_calls_its_texts_bytes(tmp_path: Path) -> None:
    pd.DataFrame({"text": texts(10), "label": [b"0", b"1"] * 5}).to_parquet(tmp_path / "mine.parquet")
    assert labels(tmp_path / "mine.parquet") == [0, 1] * 5


def test_a_missing_value_of_a_parquet_table_is_named_by_its_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": texts(10), "label": [0, 1] * 5}).astype(object)
    frame.loc[2, "text"] = None
    frame.loc[5, "label"] = None
    frame.to_parquet(tmp_path / "mine.parquet")
    message = str(refused(tmp_path / "mine.parquet"))
    assert "no text (1 row): row 3" in message and "no label (1 row): row 6" in message


def test_labels_that_are_lists_and_texts_that_are_numbers_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"text": texts(10), "label": [[1, 2]] * 10}).to_parquet(tmp_path / "mine.parquet")
    assert "unknown label (10 rows): row 1 ('[1, 2]') and 9 more" in str(refused(tmp_path / "mine.parquet"))
    pd.DataFrame({"text": range(10), "label": [0, 1] * 5}).to_parquet(tmp_path / "mine.parquet")
    assert "not text (10 rows): row 1 (int64) and 9 more" in str(refused(tmp_path / "mine.parquet"))


@pytest.mark.parametrize(
    ("label", "counts"), [("1", "0 negative and 10 positive"), ("0", "10 negative and 0 positive")]
)
def test_a_table_of_a_single_label_is_refused(tmp_path: Path, label: str, counts: str) -> None:
    error = refused(table(tmp_path, [(text, label) for text in texts(10)]))
    assert f"the table needs reviews of both labels, got {counts}" in str(error)
    assert error.hint == ""


def test_too_few_different_texts_for_a_test_are_refused(tmp_path: Path) -> None:
    """Equal texts count once, under their first label."""
    assert "2 of label 0, at least 3 are needed" in str(refused(table(tmp_path, rows(5)[:4] + [("more", "1")])))
    error = str(refused(table(tmp_path, [("same", "1"), ("same", "0")] * 20)))
    assert "too few different texts" in error and "is text the column of the texts?" in error


def test_three_different_texts_of_each_label_are_enough_for_a_test(tmp_path: Path) -> None:
    counts = Counter((row.split, row.label) for row in read(table(tmp_path, rows(6))).rows)
    assert counts == {("train", 0): 2, ("train", 1): 2, ("test", 0): 1, ("test", 1): 1}


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert labels(table(tmp_path, rows(), encoding="utf-8-sig")) == [0, 1] * 5


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        ([], {}, "is empty"),
        (["text,label"], {}, "there are no rows to train on"),
        (["text,label", "good,1"], {"name": "mine.parquet"}, "cannot be read as Parquet"),
        (["text,label", "good,1"], {"name": "mine.xlsx"}, ".csv, .jsonl"),
        (["text,label", "good,1"], {"encoding": "utf-16"}, "iconv -f utf-16"),
        (["text,label", '"good,1', "bad,0"], {}, "the row that begins in line 2 opens a quote"),
        (["text,label", '"good,1', "bad,0"], {}, "Close it, or double it"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, lines: list[str], options: dict[str, str], message: str
) -> None:
    assert message in str(refused(csv(tmp_path, lines, **options)))


SPLITS = ["train", "train", "train", "train", "validation", "validation", "test", "test"]


def split_table(folder: Path, splits: list[str], labels: list[int] | None = None) -> Path:
    pd.DataFrame(
        {"text": texts(len(splits)), "label": labels or [i % 2 for i in range(len(splits))], "split": splits}
    ).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


def splits_of(path: Path) -> list[str]:
    return [row.split for row in read(path).rows]


def test_a_split_that_is_given_is_kept_whatever_its_case(tmp_path: Path) -> None:
    assert splits_of(split_table(tmp_path, [split.title() for split in SPLITS])) == SPLITS


def test_a_split_may_hold_one_review_of_each_label(tmp_path: Path) -> None:
    splits = ["train", "train", "test", "test"]
    assert splits_of(split_table(tmp_path, splits, [0, 1, 1, 0])) == splits


@pytest.mark.parametrize(
    ("splits", "labels", "message"),
    [
        (
            ["train"] * 4,
            [0, 1, 0, 1],
            "the test split needs reviews of both labels, got 0 negative and 0 positive",
        ),
        (
            ["test"] * 4,
            [0, 1, 0, 1],
            "the train split needs reviews of both labels, got 0 negative and 0 positive",
        ),
        (
            ["train", "train", "test"],
            [0, 1, 1],
            "the test split needs reviews of both labels, got 0 negative and 1",
        ),
        (
            ["train", "test", "test"],
            [0, 1, 0],
            "the train split needs reviews of both labels, got 1 negative and 0",
        ),
    ],
)
def test_a_given_split_without_both_labels_is_refused(
    tmp_path: Path, splits: list[str], labels: list[int], message: str
) -> None:
    error = refused(split_table(tmp_path, splits, labels))
    assert message in str(error)
    assert (
        error.hint
        == "Known splits: train, validation, test. Without the column a fifth is set aside for the test."
    )


def test_a_drawn_test_split_is_a_fifth_of_each_label(tmp_path: Path) -> None:
    pairs = [(text, "1" if i < 10 else "0") for i, text in enumerate(texts(30))]
    counts = Counter((row.split, row.label) for row in read(table(tmp_path, pairs)).rows)
    assert counts == {("train", 0): 16, ("train", 1): 8, ("test", 0): 4, ("test", 1): 2}


def test_a_drawn_split_keeps_equal_texts_together(tmp_path: Path) -> None:
    assert len({(row.text, row.split) for row in read(table(tmp_path, rows(20) * 3)).rows}) == 20


def test_a_drawn_test_split_is_a_fifth_of_the_different_texts(tmp_path: Path) -> None:
    """Red if a text that stands thrice has three chances to be drawn."""
    made = read(table(tmp_path, rows(20) * 3)).rows
    assert len({row.text for row in made if row.split == "test"}) == 4


def test_a_drawn_split_is_the_same_each_time_and_no_end_of_the_file(tmp_path: Path) -> None:
    path = table(tmp_path, rows(40))
    assert splits_of(path) == splits_of(path)
    assert splits_of(path) != sorted(splits_of(path)) != splits_of(path)[::-1]


def test_few_texts_change_sides_when_a_table_grows_or_is_sorted(tmp_path: Path) -> None:
    """Red if the split were drawn anew: a champion would be judged on what it has learnt."""

    def tested(pairs: list[tuple[str, str]]) -> set[str]:
        return {row.text for row in read(table(tmp_path, pairs)).rows if row.split == "test"}

    before = tested(rows(500))
    assert tested(sorted(rows(500))) == before
    grown = tested([*rows(500), *((f"{text} again", label) for text, label in rows(50))])
    assert len(before - grown) <= 10 and len(before) == 100


def test_the_vocabulary_is_of_the_training_split_alone(tmp_path: Path) -> None:
    pairs = [("alpha beta", "train", 0), ("alpha", "train", 1), ("gamma gamma", "test", 0), ("beta", "test", 1),
             ("delta delta delta", "validation", 0)]  # fmt: skip
    pd.DataFrame(pairs, columns=["text", "split", "label"]).to_csv(tmp_path / "mine.csv", index=False)
    _, vocabulary = to_reviews(read(tmp_path / "mine.csv").rows)
    assert vocabulary.words == ("alpha", "beta")


@pytest.fixture
def made(tmp_path: Path) -> list[Labelled]:
    return read(table(tmp_path, rows(30))).rows


def test_ids_of_reviews_lead_back_to_their_rows(made: list[Labelled]) -> None:
    reviews, vocabulary = to_reviews(made)
    assert sorted(reviews.review_id) == sorted(f"row-{i}" for i in range(1, 31))
    for i, name in enumerate(reviews.review_id):
        row = made[int(name.removeprefix("row-")) - 1]
        known = [word for word in row.text.split() if word in vocabulary.words]
        assert vocabulary.decode(reviews.tokens[i], unknown="").split() == known
        assert (reviews.label[i], reviews.split[i]) == (row.label, row.split)


def test_reviews_are_mixed_the_same_way_each_time(made: list[Labelled]) -> None:
    """Red if the file's order stays, or if the mix is drawn again."""
    first, second = (to_reviews(made)[0].review_id.tolist() for _ in range(2))
    assert first == second != [f"row-{i}" for i in range(1, 31)]


def test_the_mix_is_numpys_of_seed_113() -> None:
    """Red if trainings of the same table were other ones after an update."""
    made = [Labelled(k, f"film {k}", k % 2, "train") for k in range(6)]
    order = np.random.RandomState(113).permutation(6)
    assert to_reviews(made)[0].review_id.tolist() == [f"row-{k}" for k in order]


def test_texts_that_are_often_there_are_not_learnt_from_alone(tmp_path: Path) -> None:
    """Red if what stands five times in the file comes first: nearly all of it would be on one side."""
    pairs = [(text, "1") for text in texts(200)] * 5 + [(f"dull {text}", "0") for text in texts(1_000)]
    _, validated = to_reviews(read(table(tmp_path, pairs)).rows)[0].learning_splits(0.2)
    assert 0.35 < validated.label.mean() < 0.65


def test_equal_texts_stand_together_so_that_none_is_learnt_from_and_validated_on(tmp_path: Path) -> None:
    reviews, _ = to_reviews(read(table(tmp_path, rows(40) * 3)).rows)
    learnt, validated = reviews.learning_splits(0.25)
    both = {ids.tobytes() for ids in learnt.tokens} & {ids.tobytes() for ids in validated.tokens}
    assert len(both) <= 1 and len(validated) == 24  # the cut may go through one text


@pytest.mark.parametrize(
    "index", [[0, 1, 2, 3, 4] * 2, list("abcdefghij"), pd.MultiIndex.from_product([range(2), range(5)])]
)
def test_rows_of_a_parquet_table_are_counted_whatever_its_index(tmp_path: Path, index: object) -> None:
    frame = pd.DataFrame({"text": texts(10), "label": [0, 1] * 5}, index=pd.Index(index))
    frame.to_parquet(tmp_path / "mine.parquet")
    assert [row.row for row in read(tmp_path / "mine.parquet").rows] == list(range(1, 11))
