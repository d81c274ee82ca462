"""Two versions on the logged texts."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.sample import sample_rows
from sentiflow.data.division import text_id
from sentiflow.errors import UsageError
from sentiflow.monitoring import sample as sampling
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.monitoring.replay import Replay, replay
from sentiflow.settings import Settings
from sentiflow.store.find import load_scorer
from sentiflow.store.records import Version
from tests.sentiflow.monitoring.test_accuracy import sample
from tests.world import Registry, World

MODEL = "sample-sentiment"
TEXTS = [text for text, _, split in sample_rows(2, 200, 12) if split == "test"]


def log_of(folder: Path, settings: Settings, texts: list[str]) -> Settings:
    entries = [Entry("2026-01-01T00:00:00", SERVED, MODEL, 1, 0.5, text) for text in texts]
    TextLog(folder, 10_000_000).append(entries)
    return settings.model_copy(update={"prediction_log_dir": folder})


def replayed(settings: Settings) -> Replay:
    return replay(Version(MODEL, Registry.GOOD, ""), Version(MODEL, Registry.POOR, ""), settings)


def test_answers_that_differ_are_counted_by_direction_and_read_by_both(registry: World, tmp_path: Path) -> None:
    settings = log_of(tmp_path / "log", registry.settings, [*TEXTS, *TEXTS[:5]])
    found = replayed(settings)
    good, poor = (
        np.array([scorer.score([text])[0] for text in TEXTS])
        for scorer in (load_scorer(settings, Version(MODEL, n, "")) for n in (Registry.GOOD, Registry.POOR))
    )
    assert found.answers == [
        [int((((good > 0.5) == one) & ((poor > 0.5) == other)).sum()) for other in (False, True)]
        for one in (False, True)
    ]
    assert found.texts == len(TEXTS) and found.moved == pytest.approx(np.abs(good - poor).mean())
    apart = {text: abs(a - b) for text, a, b in zip(TEXTS, good, poor, strict=True) if (a > 0.5) != (b > 0.5)}
    assert found.differ == len(apart) > 20
    assert [text for text, *_ in found.shown] == sorted(apart, key=lambda text: -apart[text])[:20]
    first, by_good, by_poor = found.shown[0]
    assert by_good.score == pytest.approx(good[TEXTS.index(first)]) != by_poor.score
    page = found.report().page()
    assert "no verdict" in page and f"{len(apart)} of {len(TEXTS)} texts" in page and "as read by" in page


@pytest.mark.parametrize("model", [MODEL, "others-sentiment"])
def test_texts_that_wait_for_labels_are_not_shown(registry: World, tmp_path: Path, model: str) -> None:
    settings = log_of(tmp_path / "log", registry.settings, TEXTS)
    (first, *_), *others = replayed(settings).shown
    asked = sample(0.9, population=[1])
    drawn = asked.texts[0].model_copy(update={"id": text_id(first), "text": first})
    sampling.keep(asked.model_copy(update={"model": model, "texts": [drawn]}), settings)
    found = replayed(settings)
    assert [text for text, *_ in found.shown][:19] == [text for text, *_ in others]
    assert first not in found.report().page() and found.texts == len(TEXTS)


def test_without_texts_nothing_is_compared(registry: World, tmp_path: Path) -> None:
    settings = registry.settings.model_copy(update={"prediction_log_dir": tmp_path / "log"})
    with pytest.raises(UsageError, match="The log has no text of sample-sentiment"):
        replayed(settings)
    with pytest.raises(UsageError, match="There is no log"):
        replayed(registry.settings)
