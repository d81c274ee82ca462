"""A table that grows: what was promoted is judged on texts that neither version has learnt from."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.sample import sample_rows
from flows.train import train
from sentiflow.data import reviews
from sentiflow.data.prepare import fetch, prepare
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import evaluate_candidate
from sentiflow.scoring import is_positive
from sentiflow.settings import load_settings
from sentiflow.store.find import load_scorer, open_store
from sentiflow.store.records import Version
from sentiflow.training.learnt import LEARNT
from sentiflow.training.recipes import load_recipe
from tests.world import World

QUICK = load_recipe("tutorial", ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4"])
ROWS = [(text, label) for text, label, _ in sample_rows(300, 2, seed=5)]


def write(path: Path, rows: Sequence[tuple[str, int | str]], splits: Sequence[str] = ()) -> None:
    given = [{"split": split} for split in splits] or [{}] * len(rows)
    lines = [
        json.dumps({"text": text, "label": label, **more}) for (text, label), more in zip(rows, given, strict=True)
    ]
    path.write_text("\n".join(lines))


def promote(name: str, number: int) -> None:
    switch.promote(name, number, load_settings(), force=True, reason="a test")


def right(name: str, number: int, rows: Sequence[tuple[str, int]]) -> float:
    """Accuracy of a version on texts, as ``predict`` would score them."""
    scores = load_scorer(load_settings(), Version(name, number, "")).score([text for text, _ in rows])
    return sum(
        bool(is_positive(score)) == bool(label) for score, (_, label) in zip(scores, rows, strict=True)
    ) / len(rows)


def test_a_folder_that_gets_a_file_moves_no_text_and_its_champion_has_learnt_no_test_text(
    world: World, prefect_server: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, settings = tmp_path / "tables", load_settings()
    folder.mkdir()
    write(folder / "a.jsonl", ROWS[:200])
    first = train(QUICK, str(folder), 0)
    promote("tables-sentiment", 1)
    write(folder / "0, first by name.jsonl", [*ROWS[200:260], (ROWS[0][0], 1 - ROWS[0][1])])
    with caplog.at_level(logging.INFO):
        second = train(QUICK, str(folder), 0)
    assert "Contradictory labels: 1 of the rows left out" in caplog.text
    assert (first.model.version, second.model.version) == (1, 2)
    run = open_store(settings).record(second.run_id)
    assert [run.params[f"table.{name}"] for name in ("tables", "repeated", "relabelled")] == ["2", "1", "1"]
    errors = next((world.root / "mlruns").rglob(f"{second.run_id}/artifacts/report.html")).read_text()
    assert re.search(r"<h3>(a|0, first by name).jsonl line \d+: labelled (posi|nega)tive, scored 0", errors)
    decision = evaluate_candidate("tables-sentiment", 2, settings).decision
    table = prepare(fetch(str(folder), settings), settings)
    tested = int((reviews.read(table.table).split == "test").sum())
    assert 30 < tested < 80
    assert (decision.reviews, decision.learnt) == (tested, 0)


@pytest.mark.story
def test_texts_that_moved_into_the_test_are_left_out(world: World, prefect_server: None, tmp_path: Path) -> None:
    """100 rows train and 50 test at first; then 30 of those test, too, and then all of them."""
    table, name, settings = tmp_path / "moved.jsonl", "moved-sentiment", load_settings()
    write(table, ROWS[:150], ["train"] * 100 + ["test"] * 50)
    train(QUICK, str(table), 0)
    promote(name, 1)
    write(table, ROWS[:200], ["train"] * 70 + ["test"] * 80 + ["train"] * 50)
    train(QUICK, str(table), 0)
    decision = evaluate_candidate(name, 2, settings).decision
    assert (decision.reviews, decision.learnt) == (50, 30)
    assert decision.champion_accuracy == pytest.approx(right(name, 1, ROWS[100:150]))
    assert decision.accuracy == pytest.approx(right(name, 2, ROWS[100:150]))
    write(table, [*ROWS[:110], *ROWS[150:200]], ["test"] * 110 + ["train"] * 50)
    train(QUICK, str(table), 0, start_from="none")  # else it would have learnt what the champion has
    decision = evaluate_candidate(name, 3, settings).decision
    assert [rule.name for rule in decision.failures if rule.name in ("test reviews", "better")] == ["test reviews"]
    assert decision.comparison is None
    run = next(version for version in open_store(settings).versions(name) if version.number == 1).run_id
    (kept,) = (world.root / "mlruns").rglob(f"{run}/artifacts/{LEARNT}")
    kept.unlink()
    decision = evaluate_candidate(name, 3, settings).decision
    assert (decision.reviews, decision.learnt) == (110, 0)
    assert "What version 1 has learnt from is not known: its run does not say." in decision.notes
