"""Tests of the texts that the service keeps for monitoring."""

from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest

from sentiflow.monitoring.log import Entry, TextLog
from sentiflow.serving import batching
from sentiflow.serving.batching import Keeper
from sentiflow.serving.metrics import Metrics
from sentiflow.store.records import CHAMPION, Version
from tests.polling import until
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import MODEL, TEXTS
from tests.world import Trained

VERSION = Version(MODEL, 7, CHAMPION)


def kept(folder: Path) -> list[Entry]:
    return [entry for batch in TextLog(folder, 100_000).unchecked(MODEL) for entry in batch]


def figures(http: httpx.Client) -> tuple[float, float]:
    """How many texts the service says that it kept, and did not keep."""
    values = service.figures(http.get("/metrics").text)
    return values["sentiflow_texts_kept_total"], values["sentiflow_texts_not_kept_total"]


def test_the_service_keeps_what_it_answered_and_nothing_else(trained: Trained, tmp_path: Path) -> None:
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    with service.running(world, SENTIFLOW_PREDICTION_LOG_DIR=str(tmp_path / "log")) as running:
        with running.client() as http:
            predicted = http.post("/predict", json={"texts": TEXTS}).json()["predictions"]
            assert http.post("/predict", json={"text": " "}).status_code == 422
            explained = http.post("/explain", json={"text": TEXTS[0]}).json()
            tried = http.get("/model").json()["examples"][0]  # which the page asks for by itself
            assert http.post("/explain", json={"text": tried}).status_code == 200
            until(lambda: figures(http) == (4, 0))  # while it runs, not only at its end
            last = http.post("/predict", json={"text": "asked at the very end"}).json()["predictions"]
        running.process.terminate()
        assert running.process.wait(30) == 0
    entries = kept(tmp_path / "log")
    assert [entry.text for entry in entries] == [*TEXTS, TEXTS[0], "asked at the very end"]
    scores = [each["score"] for each in predicted] + [explained["score"]] + [each["score"] for each in last]
    assert [entry.score for entry in entries] == scores
    assert {(entry.source, entry.model, entry.version) for entry in entries} == {("served", MODEL, 1)}


def test_a_log_that_can_be_written_again_is_told_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "log"
    blocked.touch()
    metrics = Metrics()
    keeper = Keeper(TextLog(blocked, 100_000), metrics)
    with caplog.at_level("INFO", "sentiflow.serving"):
        keeper.start()
        for lost in (1, 2):  # it is told once
            keeper.keep(VERSION, ["lost"], [0.5])
            until(lambda n=lost: service.shown(metrics)["sentiflow_texts_not_kept_total"] == n)
        blocked.unlink()
        keeper.keep(VERSION, ["kept", "kept, too"], [0.25, 0.75])
        keeper.close()
    assert [(entry.text, entry.score) for entry in kept(blocked)] == [("kept", 0.25), ("kept, too", 0.75)]
    assert b"sentiflow_texts_kept_total 2.0" in generate_latest(metrics.registry)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_the_last_check_of_drift_is_shown(tmp_path: Path) -> None:
    metrics, log = Metrics(), TextLog(tmp_path, 100_000)
    log.mark(MODEL, psi={"length": 0.125})
    log.mark(MODEL, accuracy=0.875)
    keeper = Keeper(log, metrics)
    keeper.start()
    until(lambda: b"sentiflow_live_accuracy{" in generate_latest(metrics.registry))
    keeper.close()
    assert f'sentiflow_live_accuracy{{model="{MODEL}"}} 0.875'.encode() in generate_latest(metrics.registry)
    assert f'sentiflow_drift_psi{{feature="length",model="{MODEL}"}} 0.125'.encode() in generate_latest(
        metrics.registry
    )


def test_a_disk_that_is_too_slow_costs_texts_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_MAX_UNWRITTEN", 10)
    monkeypatch.setattr(batching, "_ENTRY_SIZE", 0)
    metrics = Metrics()
    keeper = Keeper(TextLog(tmp_path, 100_000), metrics)  # not begun to write yet
    keeper.keep(VERSION, ["12345", "1234"], [0.5, 0.5])
    keeper.keep(VERSION, ["12"], [0.5])
    keeper.keep(VERSION, ["1"], [0.5])
    keeper.start()
    until(lambda: len(kept(tmp_path)) == 3)
    keeper.keep(VERSION, ["1234567890"], [0.5])  # all room is free again
    keeper.close()
    assert [entry.text for entry in kept(tmp_path)] == ["12345", "1234", "1", "1234567890"]
    assert b"sentiflow_texts_not_kept_total 1.0" in generate_latest(metrics.registry)
