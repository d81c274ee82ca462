"""Samples in files, blind and read back; a text is deleted everywhere, also where a deletion was killed."""

import csv
import json
from functools import partial
from pathlib import Path

import pytest

from sentiflow.data.division import Labelled, text_id, to_reviews
from sentiflow.data.inputs import open_input
from sentiflow.data.reviews import write
from sentiflow.data.table import Label, TableOptions
from sentiflow.errors import ExternalError, UsageError
from sentiflow.monitoring import labelling, sample
from sentiflow.monitoring.labelling import csv_table, export, read_labels
from sentiflow.monitoring.log import Entry, TextLog
from sentiflow.monitoring.sample import Verdicts
from sentiflow.run.record import DIGEST, KIND, MONITOR, TRAINING
from sentiflow.settings import Settings
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.records import QUOTED
from tests.sentiflow.monitoring.test_accuracy import sample as made
from tests.world import World


def people_said(verdicts: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiflow.store.review.read", lambda *_: ([], []))
    monkeypatch.setattr(labelling, "verdicts", lambda *_: verdicts)


def test_a_killed_deletion_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = Settings(data_dir=tmp_path / "data")
    settings = without.model_copy(update={"prediction_log_dir": tmp_path / "log"})
    table = tmp_path / "labelled-1.csv"
    table.write_text(csv_table([("text", "label"), ("text 0", "good"), ("x" * 1_000_000, "bad")]))
    asked = made(0.9, 0.1, population=[9]).model_copy(update={"tables": [str(table)]})
    sample.keep(asked, settings)
    sample.keep(others := asked.model_copy(update={"model": "others-sentiment", "tables": []}), settings)
    monkeypatch.setattr("sentiflow.store.review.delete", lambda *_: None)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(labelling, "publish_private", killed)
        labelling.delete("text-0", asked.model, settings)
    with pytest.raises(UsageError, match="There is no log"):
        labelling.delete("text-0", asked.model, without)
    (tmp_path / ".labelled-1.csv.a.partial").write_text("text 0")  # of a killed writing
    left, _ = labelling.delete("text-0", asked.model, settings)
    assert not list(tmp_path.glob(".labelled*"))
    csv.field_size_limit(2_000_000)
    assert [row[1] for row in csv.reader(table.open())] == ["label", "bad"]
    assert [each.id for each in left.texts] == ["text-1"] and left.population == [8]
    (there,) = sample.samples(others.model, settings)
    assert [each.id for each in there.texts] == ["text-1"], "it was drawn for another model, too"


def test_a_table_that_was_edited_loses_the_text_too_or_stops_the_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "data", prediction_log_dir=tmp_path / "log")
    table = tmp_path / "labelled-1.csv"
    sample.keep(asked := made(0.9, 0.1, population=[9]).model_copy(update={"tables": [str(table)]}), settings)
    monkeypatch.setattr("sentiflow.store.review.delete", lambda *_: None)
    for content in (b"text,label\ntext 0,sch\xf6n\n", b'text,label\n"text" 0,good\n'):  # by a spreadsheet, by hand
        table.write_bytes(content)
        with pytest.raises(ExternalError, match=r"labelled-1\.csv cannot be read"):
            labelling.delete("text-0", asked.model, settings)
    table.write_text("label,text\ngood,text 0\nbad,text 1\n")
    assert [each.id for each in labelling.delete("text-0", asked.model, settings)[0].texts] == ["text-1"]
    assert list(csv.reader(table.open())) == [["label", "text"], ["bad", "text 1"]]


@pytest.mark.parametrize(
    ("names", "labels", "called"),
    [
        (("bad", "good"), {"bad": 0, "good": 1}, ["good", "bad"]),
        (("bad", "good"), {"bad": 1, "good": 0}, ["good", "bad"]),  # as people said, whatever it means now
        (("1 or 2", "4 or 5"), {"1": 0, "2": 0, "4": 1, "5": 1}, ["4", "1"]),
        (("1 or 2", "4 or 5"), {"4": 0, "5": 0, "1": 1, "2": 1}, ["4", "1"]),
        (("negative", "positive"), {"1": 0, "2": 0, "3": 0, "4": 0, "9": 1}, ["9", "1"]),  # too many to name
        (("bad", "good"), {}, ["1", "0"]),
    ],
)
def test_a_row_means_what_people_said(
    names: tuple[str, str], labels: dict[str, Label], called: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = Settings(data_dir=tmp_path / "data")
    (tmp_path / "mine").mkdir()
    sample.keep(made(0.9, 0.1, population=[9]).model_copy(update={"names": names}), settings)
    people_said(Verdicts({"tr-0": 1, "tr-1": 0}), monkeypatch)
    _, (file,) = labelling.write_tables(str(tmp_path / "mine"), TableOptions(labels=labels), settings)
    assert [json.loads(line)["label"] for line in file.open()] == called


def test_labels_are_no_table_that_a_spreadsheet_opens_and_replace_the_one_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of strangers may be formulas; that they are labelled must not be told twice."""
    settings = Settings(data_dir=tmp_path / "data", prediction_log_dir=tmp_path / "log")
    asked = made(0.9, 0.1, 0.8, population=[9])
    for drawn, text in zip(asked.texts, ("=1+1", "\u2028 caf\u00e9\n", "@x"), strict=True):
        drawn.text = text
    sample.keep(asked, settings)
    (folder := tmp_path / "mine").mkdir()
    old = folder / f"labelled-{asked.model.removesuffix('-sentiment')}-{asked.number}.csv"
    old.write_text("text,label\n=1+1,1\n")
    people_said(Verdicts({"tr-0": 1, "tr-1": 0, "tr-2": 1}), monkeypatch)
    options = TableOptions(labels={asked.names[0]: 0, asked.names[1]: 1})
    _, (file,) = labelling.write_tables(str(folder), options, settings)
    assert [*folder.iterdir()] == [file] and file == old.with_suffix(".jsonl")
    table = open_input(file)
    table.select("text", ["label"])
    found = {text: label for chunk in table.chunks()
             for text, label in zip(chunk.texts, chunk.columns.column(0).to_pylist(), strict=True)}  # fmt: skip
    assert found == {"=1+1": asked.names[1], "\u2028 caf\u00e9\n": asked.names[0], "@x": asked.names[1]}
    monkeypatch.setattr("sentiflow.store.review.delete", lambda *_: None)
    labelling.delete(asked.texts[1].id, asked.model, settings)
    assert [json.loads(line)["text"] for line in file.open()] == ["=1+1", "@x"]
    file.write_text("[]\n")
    with pytest.raises(ExternalError, match="cannot be read"):
        labelling.delete(asked.texts[0].id, asked.model, settings)


def test_what_the_store_stops_has_left_log_and_sample(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = world.settings.model_copy(update={"prediction_log_dir": world.root / "log"})
    asked = made(0.9, 0.1, population=[9])
    asked.texts[0].id = text_id(asked.texts[0].text)
    sample.keep(asked, settings)
    log = TextLog(world.root / "log", 10_000_000)
    entry = partial(Entry, "2026-01-01T00:00:00", "served", asked.model, 1, 0.5)
    log.append([entry(asked.texts[0].text), entry("another")])

    def away(*_: object) -> None:
        raise ExternalError("The tracking store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr("sentiflow.store.review.delete", away)
        with pytest.raises(ExternalError):
            labelling.delete(asked.texts[0].id, asked.model, settings)
    held = [path for path in world.root.rglob("*") if path.is_file()]
    assert held and not any(asked.texts[0].text.encode() in path.read_bytes() for path in held)
    monkeypatch.setattr("sentiflow.store.review.delete", lambda *_: None)
    left, _ = labelling.delete(asked.texts[0].id, asked.model, settings)
    assert [each.id for each in left.texts] == [asked.texts[1].id]


def test_reports_that_quote_a_text_are_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the tag of a drift check, and by the prepared table that a training tested with."""
    settings, table = world.settings, prepared("text-0", world.settings.data_dir)
    client = connect(settings)
    experiment = experiment_id(client, settings)
    tags = [
        {KIND: MONITOR, QUOTED: "other text-0"}, {KIND: MONITOR, DIGEST: table.stem},
        {KIND: TRAINING, DIGEST: table.stem}, {KIND: TRAINING, DIGEST: "a" * 64},
    ]  # fmt: skip
    runs = [client.create_run(experiment, tags=each, run_name="quotes").info.run_id for each in tags]
    sample.keep(asked := made(0.9, 0.1, population=[9]), settings)
    monkeypatch.setattr("sentiflow.store.review.delete", lambda *_: None)
    with_log = settings.model_copy(update={"prediction_log_dir": world.root / "log"})
    _, named = labelling.delete("tr-0", asked.model, with_log)
    assert sorted(named) == sorted(f"{run[:8]} (quotes)" for run in (runs[0], runs[2]))


def prepared(review_id: str, data_dir: Path) -> Path:
    content = to_reviews([Labelled(review_id, "a film", 1, "test", "", 0)])
    (folder := data_dir / "datasets" / "mine").mkdir(parents=True)
    return write(*content, folder)


ASKED = made(0.123456, 0.987654, 0.5, population=[10, 20])


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
