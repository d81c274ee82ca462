"""Drift checks of a real log with a trained version, a real store and a real Prefect server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from prefect.states import StateType

from benchmarks import sample
from flows.monitor import monitor
from sentiflow.errors import ExternalError
from sentiflow.monitoring.check import drift_check
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.run.record import Query, RunRecord, select
from sentiflow.store.client import connect
from sentiflow.store.find import open_store
from tests.prefect_store import artifacts_of
from tests.receiver import receiver
from tests.world import Trained, World, copy_world

MODEL = "sample-sentiment"


@pytest.fixture
def watched(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with a trained version and an empty text log."""
    made = copy_world(tmp_path, trained.world)
    made.enter(monkeypatch)
    monkeypatch.setenv("SENTIFLOW_PREDICTION_LOG_DIR", str(tmp_path / "the owner's log"))
    return made


def held_out(seed: int, n: int) -> list[str]:
    return [text for text, _label, split in sample.sample_rows(2, n, seed) if split == "test"]


def swapped(texts: Sequence[str]) -> list[str]:
    """The same reviews in other words."""
    return [text.replace("the ", "le ").replace("was ", "fut ").replace("film", "pelicula") for text in texts]


def log(world: World, texts: Sequence[str]) -> None:
    at = datetime.now(UTC).isoformat()
    entries = [Entry(at, SERVED, MODEL, 1, 0.5, text) for text in texts]
    TextLog(world.root / "the owner's log", 10_000_000).append(entries)


def monitoring_runs(world: World) -> list[str]:
    """Ids of the runs of drift checks, newest first."""
    client = connect(world.settings)
    found = client.search_runs(["1"], "tags.kind = 'monitor'", order_by=["attributes.start_time DESC"])
    return [run.info.run_id for run in found]


def test_reviews_of_the_same_kind_end_in_a_report_of_no_drift(watched: World, tmp_path: Path) -> None:
    log(watched, held_out(7, 300))
    state = monitor("sample", return_state=True)
    assert (state.type, state.message) == (
        StateType.COMPLETED, "No drift: the texts are still like the reviews."
    )  # fmt: skip
    (run_id,) = monitoring_runs(watched)
    client = connect(watched.settings)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["monitor.drift"] == "none" and run.data.tags["monitor.version"] == "1"
    assert run.data.metrics["drift/texts"] == 300
    assert {f"drift/{name}_{end}" for name in ("oov", "length", "score") for end in ("psi", "p")} <= set(
        run.data.metrics
    )
    files = Path(client.download_artifacts(run_id, "", str(tmp_path)))
    assert {path.name for path in files.rglob("*.*")} >= {"report.html", "oov.png", "length.png", "score.png"}


def test_swapped_words_are_told_in_a_message_and_a_report(watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log(watched, swapped(held_out(7, 300)))
    with receiver() as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        outcome = monitor("sample")
    assert [each["event"] for each in got.messages] == ["drifted"]
    assert "out-of-vocabulary share moved beyond the limits" in got.messages[0]["text"]
    assert "out-of-vocabulary share" in outcome.drifted
    (run_id,) = monitoring_runs(watched)
    assert "sentiflow label --dataset sample" in got.messages[0]["text"], "what to do"
    (feature,) = (each for each in outcome.result.features if each.name == "oov") if outcome.result else ()
    assert feature.drifted and feature.psi > 0.2 and feature.p < 0.001
    flow_run = connect(watched.settings).get_run(run_id).data.tags["prefect.flow_run_id"]
    artifacts = [str(artifact.data) for artifact in artifacts_of(flow_run) if artifact.key == "drift"]
    assert any("| out-of-vocabulary share | 0.0% |" in text and "| yes |" in text for text in artifacts)


def test_few_texts_wait_until_there_are_enough(watched: World) -> None:
    first, second = held_out(7, 300)[:120], held_out(8, 300)[:120]
    log(watched, first)
    log(watched, first)  # the same again are no new ones
    state = monitor("sample", return_state=True)
    assert state.message == "Only 120 new texts (minimum 200); they are left to the next check."
    assert state.type == StateType.COMPLETED and monitoring_runs(watched) == []
    log(watched, second)
    outcome = monitor("sample")
    assert (outcome.texts, outcome.drifted) == (240, ())
    (run_id,) = monitoring_runs(watched)
    metrics = connect(watched.settings).get_run(run_id).data.metrics
    assert (metrics["drift/texts"], metrics["drift/repeated"]) == (240, 120)


def test_a_check_that_is_interrupted_in_its_run_says_so(watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log(watched, held_out(7, 300))
    monkeypatch.setattr("flows.monitor.publish_summary", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        monitor("sample")
    (run_id,) = monitoring_runs(watched)
    run = connect(watched.settings).get_run(run_id)
    assert (run.info.status, run.data.tags["end"]) == ("KILLED", "it was interrupted")


def test_two_checks_of_a_model_never_overlap(watched: World) -> None:
    with (
        drift_check("sample"),
        pytest.raises(ExternalError, match="Another drift check of sample-sentiment is running"),
    ):
        monitor("sample")


def listed(world: World) -> list[RunRecord]:
    """What ``sentiflow runs`` lists."""
    return select(open_store(world.settings).runs(), Query(), datetime.now(UTC))


def test_a_monitoring_run_is_no_training(watched: World) -> None:
    before = listed(watched)
    log(watched, held_out(7, 300))
    monitor("sample")
    assert listed(watched) == before
    assert len(before) == 1


@pytest.mark.story
def test_what_the_command_scored_is_what_it_monitors(watched: World) -> None:
    """The whole way as a user goes it: score, then check."""
    table = watched.root / "reviews.csv"
    pd.DataFrame({"text": [f"{text} ¡Qué película tan rara, señor!" for text in held_out(7, 250)]}).to_csv(table)
    folder = str(watched.root / "the owner's log")
    done = watched.run("score", str(table), "-o", "out.parquet", SENTIFLOW_PREDICTION_LOG_DIR=folder)
    assert done.returncode == 0, done.stderr
    done = watched.run("monitor", SENTIFLOW_PREDICTION_LOG_DIR=folder)
    assert done.returncode == 0, done.stderr
    assert "250 recent texts against the reviews" in done.stdout
    assert "Drift: out-of-vocabulary share" in done.stdout
    assert "sentiflow label --dataset sample" in done.stdout, "what to do"
