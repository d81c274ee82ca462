"""What the gate measures of a packaged model, and that it runs nothing of it."""

import shutil
import sqlite3
import subprocess
import sys
import timeit
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mlflow.models import Model

from sentiflow.errors import ExternalError, UsageError
from sentiflow.promotion import candidate
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.store.client import connect
from sentiflow.store.find import load_scorer, open_store, version_rows
from sentiflow.store.records import Version
from tests.world import ROOT, Registry, World, copy_world

NAME = "sample-sentiment"


class Noted(TextScorer):
    """A scorer that notes what it is asked."""

    texts: list[str]

    def score(self, texts: list[str]) -> np.ndarray:  # type: ignore[override]
        self.texts = [*getattr(self, "texts", []), *texts]
        return super().score(texts)


def test_the_text_that_is_timed_is_of_full_length_in_the_models_own_words(tmp_path: Path) -> None:
    """Red if the words are somebody else's: a network without a known word has nothing to read, and is fast."""
    (tmp_path / "weights").write_bytes(bytes(3_000_000))
    vocabulary = Vocabulary(["дом", "сад", "кот"])
    shapes = (7, 2), (2, 2), (2, 2), (2,), (2, 1), (1,)
    scorer = Noted(Weights(*(np.zeros(shape, np.float32) for shape in shapes)), vocabulary, 700)
    cost = candidate.cost_of(tmp_path, scorer)
    assert {len(vocabulary.encode(text)) - 1 for text in scorer.texts} == {700}  # the start marker aside
    assert cost.size_mb == 3.0


class Slowing(TextScorer):
    """A scorer on a clock of its own: the first text takes no time, each later one a millisecond more."""

    now, texts = 0.0, 0

    def score(self, texts: list[str]) -> np.ndarray:  # type: ignore[override]
        self.now += 0.001 * self.texts
        self.texts += len(texts)
        return np.zeros(len(texts))


def test_the_time_of_a_text_is_the_median_of_texts_that_are_scored_alone_after_a_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if the first text counts, which takes longest, if a time is that of several, or if it is no median."""
    weights = Weights(*(np.zeros(shape, np.float32) for shape in ((5, 2), (2, 2), (2, 2), (2,), (2, 1), (1,))))
    scorer = Slowing(weights, Vocabulary(["сад"]), 80)
    monkeypatch.setattr(timeit, "repeat", partial(timeit.repeat, timer=lambda: scorer.now))
    cost = candidate.cost_of(tmp_path, scorer)
    assert cost.latency_ms == pytest.approx((1 + candidate._TEXTS) / 2)  # of 1 ms, 2 ms and so on


def files_of_own(world: World, number: int) -> Path:
    """A version's files, copied into the world so that other tests keep theirs."""
    place = open_store(world.settings).version_files(NAME, number, world.root)
    copy = world.root / "files" / str(number)
    shutil.copytree(place, copy)
    with sqlite3.connect(str(world.settings.sqlite_file)) as database:
        database.execute(
            "UPDATE model_versions SET storage_location = ? WHERE version = ?", (copy.as_uri(), number)
        )
    return copy


@pytest.mark.parametrize("source", ["{root}/keras", "{root}/nowhere", "s3://bucket/model"])
def test_a_version_of_others_is_no_candidate_and_a_champion_that_only_force_replaces(
    registry: World, source: str
) -> None:
    (registry.root / "keras").mkdir()
    kind = {"python_function": {"loader_module": "mlflow.keras"}}
    Model(flavors=kind).save(str(registry.root / "keras" / "MLmodel"))
    client = connect(registry.settings)
    made = client.create_model_version(NAME, source.format(root=registry.root))
    with pytest.raises(UsageError, match=rf"Version {made.version} of {NAME} was not made by Sentiflow"):
        candidate.evaluate_candidate(NAME, int(made.version), registry.settings)
    client.set_registered_model_alias(NAME, "champion", made.version)
    settings, version = registry.settings, Version(NAME, int(made.version), "champion")
    asked: list[partial[object]] = [partial(candidate.evaluate_candidate, NAME, Registry.GOOD, settings)]
    if not source.startswith("s3:"):  # a place that only MLflow's client could read
        asked.append(partial(load_scorer, settings, version))
    for command in asked:
        with pytest.raises(UsageError, match=f"Version {made.version} of {NAME} was not made by Sentiflow"):
            command()
    rows = {row.number: row.gate for row in version_rows(NAME, settings)}
    assert [number for number, said in rows.items() if said == "not by Sentiflow"] == [int(made.version)]
    found = candidate.evaluate_candidate(NAME, Registry.GOOD, registry.settings, force=True)
    assert [rule.name for rule in found.decision.failures] == ["better"]


PROMOTE = f"""
import sys
from pathlib import Path
from sentiflow.errors import ExternalError
from sentiflow.promotion import switch
from tests.world import World
for root in sys.argv[1:]:
    settings = World(Path(root)).settings
    try:
        switch.promote({NAME!r}, {Registry.GOOD}, settings, force=True, reason="test")
    except ExternalError as err:
        assert "Cannot load" in str(err), err
"""
# The scoring code first: a module that a process has imported is not run again for the next version.
PLACES = ("code/*/scorer.py", "code/*/__init__.py", "sentiment_model.py", "extra")


@pytest.mark.story
def test_code_that_somebody_put_into_a_version_never_runs(registry: World) -> None:
    """Red if the gate loads the version as MLflow does: its code then has the passwords of whoever promotes."""
    worlds = [copy_world(registry.root / str(number), registry) for number in range(len(PLACES))]
    for where, world in zip(PLACES, worlds, strict=True):
        files, ran = files_of_own(world, Registry.GOOD), world.root / "ran"
        planted = f"import os, pathlib; pathlib.Path({str(ran)!r}).write_text(repr(os.environ))\n"
        exec(planted)  # it would tell them, if it were let
        assert ran.read_text()
        ran.unlink()
        if where == "extra":
            (files / "code" / "numpy.py").write_text(planted)
            (files / "code" / "sitecustomize.py").write_text(planted)
        else:
            (file,) = files.glob(where)
            file.write_text(planted + file.read_text())
    done = subprocess.run(
        [sys.executable, "-c", PROMOTE, *(str(world.root) for world in worlds)],
        env=registry.environment(MLFLOW_TRACKING_PASSWORD="S3CRET"), cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [where for where, world in zip(PLACES, worlds, strict=True) if (world.root / "ran").exists()] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("where", "content"),
    [
        ("code/*/scorer.py", None), ("code/*/scorer.py", "x = "), ("sentiment_model.py", None), ("MLmodel", None),
        ("MLmodel", "flavors: [1]"), ("MLmodel", "flavors: [unclosed\n  a: b: c"),
        ("artifacts/model.keras", None), ("artifacts/weights.npz", None),
    ],
)  # fmt: skip
def test_a_version_that_mlflow_could_not_load_never_becomes_champion(
    registry: World, where: str, content: str | None
) -> None:
    (file,) = files_of_own(registry, Registry.GOOD).glob(where)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(candidate.UnloadableError, match=f"Cannot load {NAME} version {Registry.GOOD}") as caught:
        candidate.evaluate_candidate(NAME, Registry.GOOD, registry.settings)
    assert caught.value.hint == "Are its files still there?"  # to try again would not help


def test_weights_put_in_place_of_a_versions_own_are_neither_judged_nor_loaded(registry: World) -> None:
    """Red if they are judged by the scores that the run keeps of the old ones, and so become champion."""
    artifacts = files_of_own(registry, Registry.GOOD) / "artifacts"
    scorer = TextScorer.load(artifacts)
    replace(scorer, weights=replace(scorer.weights, dense_kernel=0 * scorer.weights.dense_kernel)).save(artifacts)
    why = f"Cannot load {NAME} version {Registry.GOOD}: its weights or words are not those that were registered."
    with pytest.raises(ExternalError, match=why):
        candidate.evaluate_candidate(NAME, Registry.GOOD, registry.settings)
    with pytest.raises(ExternalError, match=why):
        load_scorer(registry.settings, Version(NAME, Registry.GOOD, "asked for"))


def test_a_version_that_another_release_packed_is_judged_and_told(
    registry: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Red if what an earlier release packed could not be rolled back to."""
    files = files_of_own(registry, Registry.GOOD)
    (files / "sentiment_model.py").write_text("# an earlier release's\n")
    assert candidate.evaluate_candidate(NAME, Registry.GOOD, registry.settings).version == Registry.GOOD
    assert "packaged with other code" in caplog.text
