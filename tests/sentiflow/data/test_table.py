"""Tests of a user's own table."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sentiflow.data.table import read_table, to_reviews
from sentiflow.errors import UsageError


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


def refused(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_table(path)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    return caught.value


def test_a_csv_is_read_row_by_row(tmp_path: Path) -> None:
    frame = read_table(table(tmp_path, rows()))
    assert frame["text"].tolist() == texts(10)
    assert frame["label"].tolist() == [0, 1] * 5
    assert frame["row"].tolist() == list(range(10))


def test_quoted_texts_keep_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    lines = ["label,text", '1,"Good, ""very"" good,\nindeed"', *(f"{label},{text}" for text, label in rows())]
    assert read_table(csv(tmp_path, lines))["text"][0] == 'Good, "very" good,\nindeed'


@pytest.mark.parametrize("text", ["NA", "null", "None", "nan"])
def test_a_text_that_looks_like_a_missing_value_is_a_text(tmp_path: Path, text: str) -> None:
    assert read_table(table(tmp_path, [(text, "1"), *rows()]))["text"][0] == text


def test_a_parquet_table_is_read(tmp_path: Path) -> None:
    pd.DataFrame({"text": texts(10), "label": [0, 1] * 5, "other": 3.5}).to_parquet(tmp_path / "mine.parquet")
    frame = read_table(tmp_path / "mine.parquet")
    assert (frame["text"].tolist(), frame["label"].tolist()) == (texts(10), [0, 1] * 5)


@pytest.mark.parametrize(
    ("negative", "positive"),
    [("0", "1"), ("0.0", "1.0"), ("neg", "pos"), ("negative", "positive"), ("Negative", "POSITIVE"), (" 0 ", " 1"),
     ("false", "true"), ("False", "True")],
)  # fmt: skip
def test_labels_of_a_csv_come_in_many_forms(tmp_path: Path, negative: str, positive: str) -> None:
    pairs = [(text, (negative, positive)[i % 2]) for i, text in enumerate(texts(10))]
    assert read_table(table(tmp_path, pairs))["label"].tolist() == [0, 1] * 5


@pytest.mark.parametrize("kind", [int, float, bool, str, "int8", "Int64", "boolean", "category"])
def test_labels_of_a_parquet_table_come_in_many_types(tmp_path: Path, kind: type | str) -> None:
    label = pd.Series([0, 1] * 5).astype(kind)
    pd.DataFrame({"text": texts(10), "label": label}).to_parquet(tmp_path / "mine.parquet")
    assert read_table(tmp_path / "mine.parquet")["label"].tolist() == [0, 1] * 5


def test_labels_end_as_int8(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, rows()))["label"].dtype == np.int8


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("review,label", "missing column text; found: review, label."),
        ("text,stars", "missing column label; found: text, stars."),
        ("review,stars", "missing columns text and label; found: review, stars."),
    ],
)
def test_missing_columns_are_named_with_those_found(tmp_path: Path, header: str, message: str) -> None:
    assert message in str(refused(csv(tmp_path, [header, "a,1"])))


@pytest.mark.parametrize("text", ["", "   ", "?!..."])
def test_a_text_without_a_word_is_refused_by_its_row(tmp_path: Path, text: str) -> None:
    message = str(refused(table(tmp_path, [*rows(4), (text, "1"), *rows(4)])))
    assert f"the text holds no word: row 5 ({text!r})." in message


@pytest.mark.parametrize("label", ["2", "-1", "0.5", "good", ""])
def test_an_unknown_label_is_refused_by_its_row(tmp_path: Path, label: str) -> None:
    message = str(refused(table(tmp_path, [*rows(4), ("film", label)])))
    assert f"unknown label (known: 0, 1, negative, positive, neg, pos): row 5 ({label!r})." in message


def test_many_broken_rows_are_counted_and_three_are_shown(tmp_path: Path) -> None:
    message = str(refused(table(tmp_path, [(text, "5") for text in texts(7)])))
    assert "row 1 ('5'), row 2 ('5'), row 3 ('5') and 4 more." in message


@pytest.mark.parametrize(
    ("column", "message"), [("text", "the text is missing or not a text: row 3 (None)"), ("label", "row 3 (None)")]
)
def test_a_missing_value_of_a_parquet_table_is_refused_by_its_row(
    tmp_path: Path, column: str, message: str
) -> None:
    frame = pd.DataFrame({"text": texts(10), "label": [0, 1] * 5}).astype(object)
    frame.loc[2, column] = None
    frame.to_parquet(tmp_path / "mine.parquet")
    assert message in str(refused(tmp_path / "mine.parquet"))


def test_texts_that_are_numbers_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"text": range(10), "label": [0, 1] * 5}).to_parquet(tmp_path / "mine.parquet")
    assert "the text is missing or not a text: row 1 (0), row 2 (1)" in str(refused(tmp_path / "mine.parquet"))


@pytest.mark.parametrize(
    ("label", "counts"), [("1", "0 negative and 10 positive"), ("0", "10 negative and 0 positive")]
)
def test_a_table_of_a_single_label_is_refused(tmp_path: Path, label: str, counts: str) -> None:
    message = str(refused(table(tmp_path, [(text, label) for text in texts(10)])))
    assert f"the table needs reviews of both labels, got {counts}." in message


def test_too_few_texts_for_a_test_are_refused(tmp_path: Path) -> None:
    assert "too few different texts" in str(refused(table(tmp_path, rows(2))))


def test_another_encoding_is_refused_by_its_first_byte(tmp_path: Path) -> None:
    # "text,label" and the line break are 11 bytes, "caf" 3 more
    message = str(refused(table(tmp_path, [("café", "1")], encoding="latin-1")))
    assert "not UTF-8: byte 0xe9 at position 14." in message


def test_another_encoding_is_answered_with_a_way_to_convert(tmp_path: Path) -> None:
    assert "iconv" in refused(table(tmp_path, [("café", "1")], encoding="latin-1")).hint


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, rows(), encoding="utf-8-sig"))["text"].tolist() == texts(10)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as a table" in str(refused(csv(tmp_path, [])))


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    assert "the table has no rows." in str(refused(csv(tmp_path, ["text,label"])))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as a table" in str(refused(table(tmp_path, rows(), name="mine.parquet")))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert ".csv or .parquet" in refused(table(tmp_path, rows(), name="mine.xlsx")).hint


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file or directory" in str(refused(tmp_path / "nowhere.csv"))


def test_an_open_quote_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as a table" in str(refused(csv(tmp_path, ["text,label", '"good,1', "bad,0"])))


def test_texts_with_unquoted_commas_are_refused(tmp_path: Path) -> None:
    pairs = [(f"Good, film {i}", str(i % 2)) for i in range(10)]
    refused(table(tmp_path, pairs))


SPLITS = ["train", "train", "train", "train", "validation", "validation", "test", "test"]


def split_table(folder: Path, splits: list[str], labels: list[int] | None = None) -> Path:
    pd.DataFrame(
        {"text": texts(len(splits)), "label": labels or [i % 2 for i in range(len(splits))], "split": splits}
    ).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


def test_a_split_that_is_given_is_kept(tmp_path: Path) -> None:
    assert read_table(split_table(tmp_path, SPLITS))["split"].tolist() == SPLITS


@pytest.mark.parametrize("split", ["dev", ""])
def test_an_unknown_split_is_refused_by_its_row(tmp_path: Path, split: str) -> None:
    message = str(refused(split_table(tmp_path, [*SPLITS, split])))
    assert f"unknown split (known: train, validation, test): row 9 ({split!r})." in message


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
    assert message in str(refused(split_table(tmp_path, splits, labels)))


def test_a_drawn_test_split_is_a_fifth_of_each_label(tmp_path: Path) -> None:
    pairs = [(text, "1" if i < 10 else "0") for i, text in enumerate(texts(30))]
    frame = read_table(table(tmp_path, pairs))
    counts = Counter(zip(frame["split"], frame["label"], strict=True))
    assert counts == {("train", 0): 16, ("train", 1): 8, ("test", 0): 4, ("test", 1): 2}


def test_a_drawn_split_keeps_equal_texts_together(tmp_path: Path) -> None:
    frame = read_table(table(tmp_path, rows(20) * 3))
    assert frame.groupby("text")["split"].nunique().tolist() == [1] * 20


def test_a_drawn_test_split_is_a_fifth_of_the_different_texts(tmp_path: Path) -> None:
    """Red if a text that stands thrice has three chances to be drawn."""
    frame = read_table(table(tmp_path, rows(20) * 3))
    assert frame.loc[frame["split"] == "test", "text"].nunique() == 4


def test_a_drawn_split_is_the_same_each_time(tmp_path: Path) -> None:
    path = table(tmp_path, rows(40))
    assert read_table(path)["split"].tolist() == read_table(path)["split"].tolist()


def test_the_vocabulary_is_of_the_training_split_alone(tmp_path: Path) -> None:
    pairs = [("alpha beta", "train", 0), ("alpha", "train", 1), ("gamma gamma", "test", 0), ("beta", "test", 1),
             ("delta delta delta", "validation", 0)]  # fmt: skip
    pd.DataFrame(pairs, columns=["text", "split", "label"]).to_csv(tmp_path / "mine.csv", index=False)
    _, vocabulary = to_reviews(read_table(tmp_path / "mine.csv"))
    assert vocabulary.words == ("alpha", "beta")


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    return read_table(table(tmp_path, rows(30)))


def test_ids_of_reviews_lead_back_to_their_rows(frame: pd.DataFrame) -> None:
    reviews, vocabulary = to_reviews(frame)
    for i, name in enumerate(reviews.review_id):
        row = frame.loc[int(name.removeprefix("row-"))]
        known = [word for word in row["text"].split() if word in vocabulary.words]
        assert vocabulary.decode(reviews.tokens[i], unknown="").split() == known
        assert (reviews.label[i], reviews.split[i]) == (row["label"], row["split"])


def test_every_row_becomes_one_review(frame: pd.DataFrame) -> None:
    assert sorted(to_reviews(frame)[0].review_id) == sorted(f"row-{i}" for i in range(30))


def test_reviews_are_mixed_the_same_way_each_time(frame: pd.DataFrame) -> None:
    """Red if the file's order stays, or if the mix is drawn again."""
    first, second = (to_reviews(frame)[0].review_id.tolist() for _ in range(2))
    assert first == second != [f"row-{i}" for i in range(30)]


@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4] * 2, list("abcdefghij"), range(100, 110)])
def test_rows_of_a_parquet_table_are_counted_whatever_its_index(tmp_path: Path, index: list[object]) -> None:
    frame = pd.DataFrame({"text": texts(10), "label": [0, 1] * 5}, index=pd.Index(index))
    frame.to_parquet(tmp_path / "mine.parquet")
    assert read_table(tmp_path / "mine.parquet")["row"].tolist() == list(range(10))


def test_a_parquet_table_with_an_index_of_two_levels_is_read(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_product([range(2), range(5)], names=["a", "b"])
    pd.DataFrame({"text": texts(10), "label": [0, 1] * 5}, index=index).to_parquet(tmp_path / "mine.parquet")
    assert read_table(tmp_path / "mine.parquet")["text"].tolist() == texts(10)


def test_labels_that_are_lists_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"text": texts(10), "label": [[1, 2]] * 10}).to_parquet(tmp_path / "mine.parquet")
    assert "unknown label" in str(refused(tmp_path / "mine.parquet"))


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text,label,label\ngood,1,0\nbad,0,1\n")
    assert "the column label stands twice" in str(refused(path))


def test_a_table_with_semicolons_is_told_to_use_commas(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text;label\ngood;1\nbad;0\n")
    assert "Separate the columns by commas" in str(refused(path))


def test_names_of_columns_and_splits_may_be_capitalised(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("Text, Label,SPLIT\ngood,1,Train\nbad,0,Train\nfine,1,Test\npoor,0,Test\n")
    assert read_table(path)["split"].tolist() == ["train", "train", "test", "test"]


def test_one_text_with_both_labels_is_no_single_class(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text,label\n" + "the same,1\nthe same,0\n" * 20)
    assert "too few different texts" in str(refused(path))


def test_utf_16_is_told_with_its_own_encoding(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text,label\ngood,1\n", encoding="utf-16")
    assert "iconv -f utf-16" in str(refused(path))
