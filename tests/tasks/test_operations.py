"""Steps of monitoring."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from prefect.logging import disable_run_logger

from sentiflow.monitoring import TextLog, live
from sentiflow.monitoring.accuracy import LiveAccuracy, live_accuracy
from tasks import operations
from tests.sentiflow.monitoring.test_accuracy import labels, sample


def watched(number: int, label: str) -> LiveAccuracy:
    asked = sample(0.9, 0.9, population=[2]).model_copy(update={"number": number})
    known = live_accuracy(asked, labels(label, label))
    assert known is not None
    return known


def test_a_late_label_of_an_older_sample_is_not_the_accuracy_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = watched(1, "bad"), watched(2, "good")
    newer.sample.told = newer.headline
    monkeypatch.setattr(live, "watched", lambda *_: [older, newer])
    monkeypatch.setattr(live, "mark_told", lambda *_: None)
    monkeypatch.setattr(operations, "publish_summary", lambda *_: None)
    monkeypatch.setattr(operations, "_run", lambda *_: nullcontext(MagicMock()))
    (tmp_path / "log").mkdir()
    log = TextLog(tmp_path / "log", 10_000)
    check: Any = SimpleNamespace(model="mine-sentiment", settings=None, log=log)
    with disable_run_logger():
        operations.measure_accuracy.fn(check)
    assert log.last_accuracy() == {"mine-sentiment": 1.0}
