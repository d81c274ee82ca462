"""MLflow's review pages: a queue of texts, the question about them, and the labels that people gave.

MLflow marks label schemas and review queues as experimental: what Sentiflow needs of them is in this module alone.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import mlflow
from mlflow.entities import (
    AssessmentSource,
    AssessmentSourceType,
    Feedback,
    Span,
    Trace,
    TraceData,
    TraceInfo,
    TraceLocation,
    TraceState,
)
from mlflow.exceptions import MlflowException
from mlflow.genai.label_schemas import InputCategorical
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import SpanAttributeKey
from mlflow.tracing.utils import build_otel_context
from mlflow.tracing.utils.artifact_utils import get_artifact_uri_for_trace
from mlflow.tracking import MlflowClient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from sentiflow.console import Progress, no_progress
from sentiflow.files import create_private
from sentiflow.locks import lock_tag, names_own_lock
from sentiflow.settings import Settings
from sentiflow.store.client import connect, tracking_errors
from sentiflow.store.records import LOCK
from sentiflow.store.ui import ui_url

_TITLE = "sentiflow.sample"  # tag of a trace: the title of its queue
_KIND = {"mlflow.experimentKind": "genai_development"}
_SHOWN, _MORE = 1_000, " ... (the rest: View full trace)"  # characters that the page shows of a text
_PAGE, _DELETED = 500, 100  # traces that MLflow reads, and deletes, at a time


@dataclass(frozen=True)
class Label:
    """What a person said of a text, last; the text by its trace."""

    trace: str
    by: str
    value: str


def is_free(title: str, settings: Settings) -> bool:
    """Whether a title has no texts but what a killed process of this data folder left, and no label."""
    client, tracing = connect(settings), TracingClient(settings.tracking_uri)
    with tracking_errors(settings.tracking_uri):
        found = [trace.info for trace in _traces(tracing, _experiment(client, settings), title)]
    return all(names_own_lock(each.tags.get(LOCK), title, settings) and not each.assessments for each in found)


def open_queue(
    title: str,
    options: Sequence[str],
    texts: Sequence[str],
    people: Sequence[str],
    work: Path,
    settings: Settings,
    progress: Progress = no_progress,
) -> tuple[str, str, list[str]]:
    """Put texts into a queue, with a question of that title, for people with these logins: at most 10.

    Gives the ids of the experiment, of the queue, and of each text's trace. What a killed process left of the same
    title is removed first: see ``is_free``. The folder ``work`` holds one text at a time meanwhile.
    """
    client, tracing = connect(settings), TracingClient(settings.tracking_uri)
    with tracking_errors(settings.tracking_uri):
        experiment, tags = _experiment(client, settings), {_TITLE: title, LOCK: lock_tag(title, settings)}
        _remove(tracing, experiment, title)
        traces: list[str] = []
        with progress("texts to MLflow", len(texts)) as advance:
            for text in texts:
                traces.append(_write(text, tags, work, tracing, experiment))
                advance(1)
        question = tracing._create_label_schema(  # noqa: SLF001
            experiment,
            name=title,
            type="feedback",
            input=InputCategorical(options=list(options)),
            instruction="What does the text say?",
            enable_comment=True,
        )
        queue = tracing._create_review_queue(  # noqa: SLF001
            experiment, name=title, queue_type="custom", users=list(people), schema_ids=[str(question.schema_id)]
        )
        tracing._add_items_to_review_queue(queue.queue_id, item_ids=traces)  # noqa: SLF001
    return experiment, queue.queue_id, traces


def page_url(experiment: str, queue: str, settings: Settings) -> str:
    """Address of the page where people label."""
    return f"{ui_url(settings)}/#/experiments/{experiment}/review-queue?selectedQueueId={queue}"


def read(title: str, experiment: str, settings: Settings) -> tuple[set[str], list[Label]]:
    """The traces of a queue that nobody has deleted, and each person's latest label of them; Anna is anna."""
    connect(settings)
    traces: set[str] = set()
    latest: dict[tuple[str, str], tuple[int, str]] = {}
    with tracking_errors(settings.tracking_uri):
        for trace in _traces(TracingClient(settings.tracking_uri), experiment, title):
            traces.add(trace.info.trace_id)
            for person, given in _given(trace.info, title):
                key, found = (trace.info.trace_id, person), (given.last_update_time_ms or 0, str(given.value))
                latest[key] = max(latest.get(key, found), found)
    return traces, [Label(trace, by, value) for (trace, by), (_, value) in latest.items()]


def add_labels(title: str, experiment: str, labels: Sequence[Label], settings: Settings) -> None:
    """Add what people said outside of the pages; it replaces what they said before, by any clock."""
    connect(settings)
    tracing = TracingClient(settings.tracking_uri)
    with tracking_errors(settings.tracking_uri):
        before = {each.info.trace_id: _given(each.info, title) for each in _traces(tracing, experiment, title)}
        for label in labels:  # MLflow takes one at a time
            _add_label(title, label, before.get(label.trace, ()), tracing)


def _add_label(title: str, label: Label, before: Sequence[tuple[str, Feedback]], tracing: TracingClient) -> None:
    source = AssessmentSource(AssessmentSourceType.HUMAN, label.by)
    mlflow.log_feedback(trace_id=label.trace, name=title, value=label.value, source=source)
    for person, given in before:
        if person == _plain(label.by):
            tracing.delete_assessment(label.trace, str(given.assessment_id))


def delete(trace: str, experiment: str, settings: Settings) -> None:
    """Delete a text, with what was said of it, if it is still there."""
    connect(settings)
    with tracking_errors(settings.tracking_uri):
        tracing = TracingClient(settings.tracking_uri)
        found = _found(tracing.get_trace_info, trace)
        _delete([] if found is None else [found], tracing, experiment)


def _given(trace: TraceInfo, title: str) -> list[tuple[str, Feedback]]:
    """What people answered to a question about a text, each with the person."""
    return [
        (_plain(given.source.source_id or ""), given)
        for given in trace.assessments
        if isinstance(given, Feedback)
        and (given.name, given.source.source_type) == (title, AssessmentSourceType.HUMAN)
        and given.valid is not False
    ]


def _plain(person: str) -> str:
    return normalize("NFC", person.strip().casefold())


def _write(text: str, tags: Mapping[str, str], work: Path, tracing: TracingClient, experiment: str) -> str:
    """Write a trace, its tags before the file with its text: whatever a kill leaves is found again.

    A span of MLflow's own can write the text first, and several seconds later.
    """
    number, now = uuid.uuid4(), time.time_ns()
    location = TraceLocation.from_experiment_id(experiment)
    info = TraceInfo(f"tr-{number.hex}", location, now // 1_000_000, TraceState.OK, execution_duration=0)
    info.tags, shown = dict(tags), json.dumps(text, ensure_ascii=False)
    info.request_preview = shown if len(shown) <= _SHOWN else shown[: _SHOWN - len(_MORE)] + _MORE
    trace = tracing.start_trace(info)
    attributes = {SpanAttributeKey.REQUEST_ID: trace.trace_id, SpanAttributeKey.INPUTS: text}
    span = ReadableSpan(
        "text", build_otel_context(number.int, number.int >> 64), start_time=now, end_time=now,
        attributes={name: json.dumps(value) for name, value in attributes.items()}, resource=Resource.get_empty(),
    )  # fmt: skip
    with create_private(file := work / "traces.json") as content:
        content.write(json.dumps(TraceData([Span(span)]).to_dict()).encode())
    _files(trace).log_artifact(str(file))
    return str(trace.trace_id)


def _files(trace: TraceInfo) -> Any:
    return get_artifact_repository(get_artifact_uri_for_trace(trace))


def _traces(tracing: TracingClient, experiment: str, title: str) -> list[Trace]:
    found: list[Trace] = []
    token = None
    while True:
        page = tracing.search_traces(
            experiment_ids=[experiment], filter_string=f"tags.`{_TITLE}` = '{title}'", max_results=_PAGE,
            include_spans=False, page_token=token,
        )  # fmt: skip
        found += page
        if not (token := page.token):
            return found


def _remove(tracing: TracingClient, experiment: str, title: str) -> None:
    queue = _found(tracing._get_review_queue_by_name, experiment, title)  # noqa: SLF001
    if queue is not None:
        tracing._delete_review_queue(queue.queue_id)  # noqa: SLF001
    question = _found(tracing._get_label_schema_by_name, experiment, title)  # noqa: SLF001
    if question is not None:
        tracing._delete_label_schema(question.schema_id)  # noqa: SLF001
    _delete([trace.info for trace in _traces(tracing, experiment, title)], tracing, experiment)


def _found(look_up: Callable[..., Any], *names: str) -> Any:
    try:
        return look_up(*names)
    except MlflowException as err:
        if err.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _delete(traces: Sequence[TraceInfo], tracing: TracingClient, experiment: str) -> None:
    """Delete traces, first the files with their texts, which MLflow would leave."""
    for trace in traces:
        _files(trace).delete_artifacts()
    for begin in range(0, len(traces), _DELETED):
        tracing.delete_traces(experiment, trace_ids=[each.trace_id for each in traces[begin : begin + _DELETED]])


def _experiment(client: MlflowClient, settings: Settings) -> str:
    """Find or make the experiment beside that of the runs, which has no page of reviews."""
    name = f"{settings.experiment}-labels"
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, settings.artifacts.as_uri() if settings.artifacts else None, _KIND))
