"""The tasks of a training are plain functions."""

from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from sentiflow.data.table import DEFAULT_OPTIONS
from sentiflow.names import AUTO
from sentiflow.store.find import find_version
from sentiflow.training.context import Started
from sentiflow.training.open_run import alone, training_run
from sentiflow.training.recipes import load_recipe
from tasks.training import evaluate, fetch, fit, fit_baseline, prepare, register, summarize, train
from tests.world import World


def test_each_task_works_without_prefect(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if a step asked Prefect for something: its server is one that never answers."""
    world.enter(monkeypatch)
    reviews = tmp_path / "films.csv"
    rows = [
        f"{word} film number {each},{label}\n" for each in range(120) for word, label in (("good", 1), ("bad", 0))
    ]
    reviews.write_text("text,label\n" + "".join(rows))
    config, dataset = load_recipe("fitted", ["epochs=1"]), str(reviews)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        alone(Started("by-hand"), dataset) as ready,
        training_run(ready, config, 0) as run,
    ):
        prepared = prepare.fn(run, fetch.fn(run, DEFAULT_OPTIONS))
        run = fit.fn(run, prepared, AUTO)
        baseline = fit_baseline.fn(run, prepared)
        trained = train.fn(run, prepared, baseline)
        measured = evaluate.fn(run, prepared, trained, baseline)
        result = summarize.fn(run, prepared, measured, register.fn(run, prepared, trained, measured))
    assert run.record().tags["started_by"].endswith(", by hand")
    assert find_version(world.settings, result.model.name, None).number == result.model.version == 1
