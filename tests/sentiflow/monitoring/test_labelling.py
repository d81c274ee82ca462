"""A text is deleted everywhere, also where a deletion was killed."""

import csv
from pathlib import Path

import pytest

from sentiflow.data.table import Label, TableOptions
from sentiflow.errors import ExternalError, UsageError
from sentiflow.monitoring import labelling, sample
from sentiflow.monitoring.accuracy import Verdicts
from sentiflow.monitoring.exchange import csv_table
from sentiflow.settings import Settings
from tests.sentiflow.monitoring.test_accuracy import sample as made


def test_a_killed_deletion_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = Settings(data_dir=tmp_path / "data")
    settings = without.model_copy(update={"prediction_log_dir": tmp_path / "log"})
    table = tmp_path / "labelled-1.csv"
    table.write_text(csv_table([("text", "label"), ("text 0", "good"), ("x" * 1_000_000, "bad")]))
    asked = made(0.9, 0.1, population=[9]).model_copy(update={"tables": [str(table)]})
    sample.keep(asked, settings)
    sample.keep(others := asked.model_copy(update={"model": "others-sentiment", "tables": []}), settings)
    monkeypatch.setattr("sentiflow.store.review.delete", lambda *_: None)
    monkeypatch.setattr(labelling, "delete_files", lambda *_: None)
    monkeypatch.setattr(labelling, "digests_tested_with", lambda *_: ())

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(labelling, "publish_private", killed)
        labelling.delete("text-0", asked.model, settings)
    with pytest.raises(UsageError, match="There is no log"):
        labelling.delete("text-0", asked.model, without)
    (tmp_path / ".labelled-1.csv.a.partial").write_text("text 0")  # of a killed writing
    left = labelling.delete("text-0", asked.model, settings)
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
    monkeypatch.setattr(labelling, "delete_files", lambda *_: None)
    monkeypatch.setattr(labelling, "digests_tested_with", lambda *_: ())
    for content in (b"text,label\ntext 0,sch\xf6n\n", b'text,label\n"text" 0,good\n'):  # by a spreadsheet, by hand
        table.write_bytes(content)
        with pytest.raises(ExternalError, match=r"labelled-1\.csv cannot be read"):
            labelling.delete("text-0", asked.model, settings)
    table.write_text("label,text\ngood,text 0\nbad,text 1\n")
    assert [each.id for each in labelling.delete("text-0", asked.model, settings).texts] == ["text-1"]
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
    monkeypatch.setattr(labelling, "said", lambda *_: Verdicts({"tr-0": 1, "tr-1": 0}))
    _, (file,) = labelling.write_tables(str(tmp_path / "mine"), TableOptions(labels=labels), settings)
    assert [row["label"] for row in csv.DictReader(file.open())] == called
