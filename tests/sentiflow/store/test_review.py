"""Queues of texts in a real MLflow store, and the labels that people give."""

from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
from mlflow.entities import AssessmentSource, AssessmentSourceType
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
    together = [Label(first, "anna", "bad"), Label(first, "bob", "bad"), Label(second, "anna", "good")]
    single = [[Label(first, "anna", "good")], [Label(second, "Bob", "bad")], [Label(second, " bob", "good")]]
    for labels in (together, *single):
        review.add_labels(TITLE, queue.experiment, labels, settings)
    cleo = AssessmentSource(AssessmentSourceType.HUMAN, "cleo")
    mlflow.log_feedback(trace_id=first, name="another question", value="bad", source=cleo)
    judge = AssessmentSource(AssessmentSourceType.LLM_JUDGE, "judge")
    mlflow.log_feedback(trace_id=first, name=TITLE, value="bad", source=judge)
    assert set(review.read(TITLE, queue.experiment, settings)[1]) == {
        Label(first, "anna", "good"), Label(first, "bob", "bad"), Label(second, "anna", "good"),
        Label(second, "bob", "good"),
    }  # fmt: skip


def test_what_a_killed_process_left_is_not_there_twice(settings: Settings) -> None:
    left, queue = opened(settings, *TEXTS), opened(settings, "Another.")
    tracing = TracingClient(settings.tracking_uri)
    assert left.experiment == queue.experiment
    assert [item.item_id for item in tracing._list_review_queue_items(queue.queue)] == list(queue.traces)
    found = tracing.search_traces(experiment_ids=[queue.experiment], include_spans=False)
    assert [trace.info.trace_id for trace in found] == list(queue.traces)


def test_only_what_was_left_here_without_a_label_is_replaced(settings: Settings, tmp_path: Path) -> None:
    assert review.is_free(TITLE, settings)
    first, _ = (queue := opened(settings, *TEXTS)).traces
    assert review.is_free(TITLE, settings)
    assert not review.is_free(TITLE, settings.model_copy(update={"data_dir": tmp_path / "another"}))
    review.add_labels(TITLE, queue.experiment, [Label(first, "anna", "bad")], settings)
    assert not review.is_free(TITLE, settings)


def test_a_deleted_text_is_gone_with_its_labels(settings: Settings) -> None:
    first, second = (queue := opened(settings, *TEXTS)).traces
    labels = [Label(trace, "anna", "bad") for trace in (first, second)]
    review.add_labels(TITLE, queue.experiment, labels, settings)
    for _ in range(2):  # the second time as after a kill
        review.delete(first, queue.experiment, settings)
    assert review.read(TITLE, queue.experiment, settings)[1] == [Label(second, "anna", "bad")]
    assert mlflow.get_trace(first, silent=True) is None
