"""What a training of one's own table starts from, what is kept of that, and what follows from it."""

import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from benchmarks.sample import sample_rows
from flows.train import reproduce, train
from sentiflow.base import model as base
from sentiflow.data import reviews
from sentiflow.data.division import text_id, word_hash
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.table import DEFAULT_OPTIONS
from sentiflow.errors import ExternalError, UsageError
from sentiflow.promotion.candidate import evaluate_candidate
from sentiflow.settings import load_settings
from sentiflow.store.client import connect
from sentiflow.store.find import load_scorer, open_store, score_table
from sentiflow.store.records import SCORER_DIGEST, Version
from sentiflow.training.learnt import LEARNT, learnt_of
from sentiflow.training.provenance import asked_key, trained_already
from sentiflow.training.recipes import TrainConfig, load_recipe
from sentiflow.training.start_from import Start, choose_start
from tests.flows.test_growing import promote, write
from tests.world import World

NAME = "rows-sentiment"
FIELDS = ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4"]
QUICK = load_recipe("tutorial", FIELDS)
ROWS = [(text, label) for text, label, _ in sample_rows(300, 2, seed=5)]


def start_of(table: Path, config: TrainConfig = QUICK, asked: str = "auto") -> Start:
    settings = load_settings()
    made = prepare(fetch(str(table), settings), settings).table
    return choose_start(asked, str(table), config, reviews.read(made), reviews.read_vocabulary(made), settings)


def learnt(number: int, folder: Path) -> set[int]:
    store = open_store(load_settings())
    found = store.version(NAME, number)
    assert found is not None
    path = store.file(store.record(str(found.run_id)), LEARNT, folder)
    assert path is not None
    return set(np.load(path).tolist())


@pytest.mark.story
def test_a_grown_table_starts_from_its_champion_and_all_that_stands_on_versions_knows(
    world: World, prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, settings = tmp_path / "rows.jsonl", load_settings()
    write(table, ROWS[:150])
    assert start_of(table).name == "none"  # the base has embeddings of another size
    train(QUICK, str(table), 0)
    assert start_of(table).name == "none"  # a version that nobody promoted is no start
    promote(NAME, 1)
    write(table, ROWS[100:])  # some rows are gone: the start has learnt them all the same
    store = open_store(settings)
    second = train(QUICK, str(table), 0)

    first_version, version, run = store.version(NAME, 1), store.version(NAME, 2), store.record(second.run_id)
    assert first_version is not None
    assert version is not None
    assert run.params["start_from"] == version.tags["start.from"] == f"{NAME}/1"
    assert version.tags["mlflow.sentiflow.start.digest"] == first_version.tags[SCORER_DIGEST]
    assert float(version.tags["start.accuracy"]) == pytest.approx(
        store.record(str(first_version.run_id)).metrics["test/accuracy"], abs=1e-4
    )
    assert f"Started from {NAME}/1" in run.tags["mlflow.note.content"]
    client = connect(settings)
    (came_in,) = client.get_run(second.run_id).inputs.model_inputs
    assert client.get_model_version(NAME, "1").source == f"models:/{came_in.model_id}"
    assert learnt(1, tmp_path) < learnt(2, tmp_path)
    # One epoch at a small rate: the network is near the one that it started from, which was drawn otherwise.
    old, new = (load_scorer(settings, Version(NAME, number, "")) for number in (1, 2))
    assert np.abs(new.weights.recurrent_kernel - old.weights.recurrent_kernel).max() < 0.1

    # The same table is not trained again, whatever became the champion; but from another start it is.
    promote(NAME, 2)
    assert trained_already(QUICK, str(table), 0, settings, DEFAULT_OPTIONS, "auto") == Version(
        NAME, 2, "trained already"
    )
    write(table, ROWS[:99:-1])  # the same data in other bytes
    assert trained_already(QUICK, str(table), 0, settings, DEFAULT_OPTIONS, "auto") is not None
    for other in ("none", f"{NAME}/1"):
        assert trained_already(QUICK, str(table), 0, settings, DEFAULT_OPTIONS, other) is None
    assert reproduce(f"{NAME}/2").identical

    wider = load_recipe("tutorial", [*FIELDS, "units=5"])
    assert start_of(table, wider).name == "none"  # of other shapes
    assert start_of(table, wider, f"{NAME}/2").name == f"{NAME}/2"  # its words, as it was asked for
    monkeypatch.setenv("SENTIFLOW_START_AFRESH_AFTER", "1")
    assert start_of(table).name == "none"  # the newest started from the champion
    monkeypatch.delenv("SENTIFLOW_START_AFRESH_AFTER")
    assert start_of(table).name == f"{NAME}/2"

    # Who registers by hand may name any run: the files of that version are what it is.
    client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
    source = client.get_model_version(NAME, "1").source
    client.create_model_version(NAME, str(source), second.run_id)
    assert start_of(table, asked=f"{NAME}/3").digest == first_version.tags[SCORER_DIGEST]
    assert asked_key(f"{NAME}/3", str(table), settings) == f"{NAME}/3"
    assert learnt_of(f"{NAME}/2", settings) is not None
    assert learnt_of(f"{NAME}/3", settings) is None
    client.delete_run(str(first_version.run_id))
    assert learnt_of(f"{NAME}/1", settings) is not None  # its files are still there

    with pytest.raises(UsageError, match="embeddings of size 4, the recipe of size 64"):
        start_of(table, load_recipe("fitted"), f"{NAME}@champion")
    with pytest.raises(UsageError, match="There is no run"):
        start_of(table, asked="others-sentiment/1")
    for models in (world.root / "mlruns" / "artifacts").rglob("models"):
        shutil.rmtree(models)
    with pytest.raises(ExternalError, match=f"would start from {NAME} version 2, the champion") as caught:
        start_of(table)
    assert "--start-from base" in str(caught.value.hint)
    with pytest.raises(ExternalError, match=f"{NAME} version 1"):
        reproduce(f"{NAME}/2")


@pytest.mark.story
def test_reviews_that_the_start_has_learnt_do_not_test(
    world: World, prefect_server: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another table's version has learnt 20 of 70 test reviews, in other capitals; then all of them."""
    other, table, settings = tmp_path / "rows.jsonl", tmp_path / "own.jsonl", load_settings()
    write(other, ROWS[:150], ["train"] * 100 + ["test"] * 50)
    train(QUICK, str(other), 0)
    write(table, [(text.upper(), label) for text, label in ROWS[80:250]], ["test"] * 70 + ["train"] * 100)
    with caplog.at_level(logging.WARNING):
        first = train(QUICK, str(table), 0, start_from=f"{NAME}/1")
    assert f"{NAME}/1 has learnt 20 of the 70 test reviews" in caplog.text
    store = open_store(settings)
    scores = score_table(store, store.record(first.run_id), tmp_path)
    assert scores is not None
    assert {*scores.review_id.tolist()} == {text_id(text.upper()) for text, _ in ROWS[100:150]}
    train(QUICK, str(table), 0, start_from="none")
    for champion, candidate, left_out in ((1, 2, 20), (2, 1, 0)):
        promote("own-sentiment", champion)
        decision = evaluate_candidate("own-sentiment", candidate, settings).decision
        assert (decision.reviews, decision.learnt) == (50, left_out)
    write(table, ROWS[:150], ["test"] * 50 + ["train"] * 100)
    with pytest.raises(UsageError, match=r"learnt 50 of the 50 test reviews: too few") as refused:
        train(QUICK, str(table), 0, start_from=f"{NAME}/1")
    assert "--start-from none" in refused.value.hint


@pytest.mark.parametrize(("known", "name"), [(9, "base"), (30, "none")])
def test_the_default_passes_over_a_base_that_has_learnt_a_quarter_of_the_test(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: int, name: str
) -> None:
    """As in a table of IMDB's reviews: 9 and 30 of 40 test reviews are taken for such."""
    hashes = np.array([2, *(word_hash(text) for text, _ in ROWS[:known])], np.uint64)
    monkeypatch.setattr(base, "learnt", lambda: hashes)
    table = tmp_path / "rows.jsonl"
    write(table, ROWS[:200], ["test"] * 40 + ["train"] * 160)
    found = start_of(table, load_recipe("fitted"))
    assert found.name == name
    assert ("has learnt 30 of the 40 test reviews" in found.text()) == (known == 30)


def labelled(row: int, label: int, *, kind: str) -> int:
    return {"as read": label, "complaint": 1 - label, "subject": row * 7919 % 2 ^ (row // 3) % 2}[kind]


@pytest.mark.parametrize(("kind", "name"), [("as read", "base"), ("complaint", "base"), ("subject", "none")])
def test_the_default_passes_over_a_base_to_which_the_labels_mean_nothing(
    world: World, tmp_path: Path, kind: str, name: str
) -> None:
    """A table sorted by label, whose answers may be the other way round; and one of other answers."""
    rows = [(text, labelled(row, label, kind=kind)) for row, (text, label) in enumerate(ROWS)]
    write(table := tmp_path / "rows.jsonl", sorted(rows, key=lambda row: row[1]))
    found = start_of(table, load_recipe("fitted"))
    assert found.name == name
    assert ("base hardly tells these labels apart" in found.text()) == (name == "none")
    assert start_of(table, load_recipe("fitted"), "base").name == "base"  # as it was asked for


@pytest.mark.story
def test_the_default_starts_from_the_base_and_another_language_from_nothing(
    world: World, prefect_server: None, tmp_path: Path
) -> None:
    table, other = tmp_path / "rows.jsonl", tmp_path / "zeilen.jsonl"
    write(table, ROWS)
    # The same words turned round, which no English network knows.
    write(other, [(" ".join(word[::-1] for word in text.split()), label) for text, label in ROWS])
    fitted = load_recipe("fitted")
    assert (found := start_of(table, fitted)).name == "base"
    assert found.words > 0.8
    assert (found := start_of(other, fitted)).name == "none"
    assert "of the words" in found.text()
    assert start_of(table, fitted, "none").name == "none"
    assert start_of(other, fitted, "base").name == "base"  # as it was asked for
    shown = world.run("data", "--dataset", str(table))
    assert "A training now starts from base" in shown.stdout
    ((own, kept),) = re.findall(r"([\d,]+) of [\d,]+ words of .* So are ([\d,]+)", shown.stdout)
    longest = re.search(r"longest +(\d+)", shown.stdout)
    assert longest is not None
    assert int(own) < 1_000 and int(kept.replace(",", "")) > 14_000
    assert int(re.findall(r"shape padded to (\d+)", shown.stdout)[0]) <= int(longest[1])
    result = train(load_recipe("fitted", ["epochs=2"]), str(table), 0)
    run = open_store(load_settings()).record(result.run_id)
    assert run.params["start_from"] == "base"
    assert run.params["epochs"] == "2"
    assert run.params["learning_rate"] == "0.002"
    assert result.measured.accuracy > 0.7  # of 300 made reviews, most of what it knows is the base's
