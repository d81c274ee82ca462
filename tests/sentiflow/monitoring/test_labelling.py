"""A text is deleted everywhere, also where a deletion was killed."""

import csv
from pathlib import Path

import pytest

from sentiflow.errors import UsageError
from sentiflow.monitoring import labelling, sample
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
