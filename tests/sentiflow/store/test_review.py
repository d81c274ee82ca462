"""Queues of texts in a real MLflow store, and the labels that people give."""

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
from mlflow.entities import AssessmentSource, AssessmentSourceType, Feedback
from mlflow.tracing.client import TracingClient

from sentiflow.files import empty_folder
from sentiflow.settings import Settings
from sentiflow.store import review
from sentiflow.store.review import Label
from tests.world import make_world

TITLE = "mine-sentiment sample 1"
TEXTS = ["A <b>fine</b> film.", "Dull, 'quoted' and\nlong."]


@pytest.fixture
def settings(tmp_path: Path, migrated_store: Path) -> Settings:
    return make_world(tmp_path, migrated_store).settings


class Queue(NamedTuple):
    """What stands open: ids of the experiment, of the queue, and of each text's trace."""

    experiment: str
    queue: str
    traces: list[str]


def opened(settings: Settings, *texts: str) -> Queue:
    with empty_folder(settings.data_dir / "work") as work:
        return Queue(*review.open_queue(TITLE, ["bad", "good", "cannot tell"], texts, ["anna"], work, settings))


def test_a_queue_holds_the_texts_and_nothing_else(settings: Settings) -> None:
    queue = opened(settings, *TEXTS)
    tracing = TracingClient(settings.tracking_uri)
    items = tracing._list_review_queue_items(queue.queue)
    assert {item.item_id for item in items} == set(queue.traces)
    for trace, text in zip(queue.traces, TEXTS, strict=True):
        found = mlflow.get_trace(trace)
        assert (found.data.spans[0].inputs, found.data.spans[0].outputs) == (text, None)
        own = {name: value for name, value in found.info.tags.items() if not name.startswith("mlflow.")}
        assert own == {"sentiflow.sample": TITLE}
    assert queue.experiment in review.page_url(queue.experiment, queue.queue, settings)


def test_a_person_counts_once_with_the_latest_label(settings: Settings) -> None:
    first, second = (queue := opened(settings, *TEXTS)).traces
    for label in (Label(first, "anna", "bad"), Label(first, "bob", "bad"), Label(second, "anna", "good")):
        review.add_label(TITLE, label, settings)
    review.add_label(TITLE, Label(first, "anna", "good"), settings)
    review.add_label(TITLE, Label(second, "Bob", "bad"), settings)
    review.add_label(TITLE, Label(second, " bob", "good"), settings)
    cleo = AssessmentSource(AssessmentSourceType.HUMAN, "cleo")
    mlflow.log_feedback(trace_id=first, name="another question", value="bad", source=cleo)
    judge = AssessmentSource(AssessmentSourceType.LLM_JUDGE, "judge")
    mlflow.log_feedback(trace_id=first, name=TITLE, value="bad", source=judge)
    assert set(review.labels(TITLE, queue.experiment, settings)) == {
        Label(first, "anna", "good"), Label(first, "bob", "bad"), Label(second, "anna", "good"),
        Label(second, "bob", "good"),
    }  # fmt: skip


def test_a_later_label_counts_although_the_clock_was_set_back(settings: Settings) -> None:
    """Zoe answers while the clock of MLflow is an hour ahead, in the page and from a file, and once more after."""
    first, second = (queue := opened(settings, *TEXTS)).traces
    ahead, zoe = int(time.time() + 3_600) * 1_000, AssessmentSource(AssessmentSourceType.HUMAN, "Zoe")
    for trace, source in ((first, zoe), (first, zoe), (second, AssessmentSource(zoe.source_type, "anna"))):
        given = Feedback(name=TITLE, value="bad", source=source, create_time_ms=ahead, last_update_time_ms=ahead)
        TracingClient(settings.tracking_uri).log_assessment(trace, given)
    review.add_label(TITLE, Label(first, "zoe", "good"), settings)
    review.add_label(TITLE, Label(second, "zoe", "good"), settings)
    assert set(review.labels(TITLE, queue.experiment, settings)) == {
        Label(first, "zoe", "good"), Label(second, "anna", "bad"), Label(second, "zoe", "good"),
    }  # fmt: skip


def test_what_a_killed_process_left_is_not_there_twice(settings: Settings) -> None:
    left, queue = opened(settings, *TEXTS), opened(settings, "Another.")
    tracing = TracingClient(settings.tracking_uri)
    assert left.experiment == queue.experiment
    assert [item.item_id for item in tracing._list_review_queue_items(queue.queue)] == list(queue.traces)
    found = tracing.search_traces(experiment_ids=[queue.experiment], include_spans=False)
    assert [trace.info.trace_id for trace in found] == list(queue.traces)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child starts what it needs itself
def test_a_kill_at_any_moment_leaves_no_text_that_the_next_draw_does_not_remove(settings: Settings) -> None:
    """MLflow's own spans leave some without a tag at most of these moments."""
    rng, root = random.Random(7), settings.data_dir.parent
    for _ in range(12):
        child = os.fork()
        if child == 0:
            try:
                opened(settings, *(f"Nobody's {number}." for number in range(60)))
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.1, 0.8))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    queue = opened(settings, *TEXTS)
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as database:
        assert {row[0] for row in database.execute("SELECT request_id FROM trace_info")} == set(queue.traces)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert [path for path in files if b"Nobody's" in path.read_bytes()] == []


def test_only_what_was_left_here_without_a_label_is_replaced(settings: Settings, tmp_path: Path) -> None:
    assert review.is_free(TITLE, settings)
    first, _ = opened(settings, *TEXTS).traces
    assert review.is_free(TITLE, settings)
    assert not review.is_free(TITLE, settings.model_copy(update={"data_dir": tmp_path / "another"}))
    review.add_label(TITLE, Label(first, "anna", "bad"), settings)
    assert not review.is_free(TITLE, settings)


def test_a_deleted_text_is_gone_with_its_labels(settings: Settings) -> None:
    first, second = (queue := opened(settings, *TEXTS)).traces
    for trace in (first, second):
        review.add_label(TITLE, Label(trace, "anna", "bad"), settings)
    for _ in range(2):  # the second time as after a kill
        review.delete(first, queue.experiment, settings)
    assert review.labels(TITLE, queue.experiment, settings) == [Label(second, "anna", "bad")]
    assert mlflow.get_trace(first, silent=True) is None
