"""The steps of a look for drift, as Prefect tasks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import get_run_logger, task
from prefect.client.orchestration import get_client
from prefect.events import Event

from sentiment import drift, drift_figures, text_log_reader
from sentiment.data import reviews
from sentiment.drift import Limits
from sentiment.drift_figures import UNKNOWN
from sentiment.drift_report import Told
from sentiment.settings import load_settings
from sentiment.text_log import Entry
from tasks.monitor_sides import BATCH, measure, reviews_of
from tasks.provenance import flow_run_tags
from tasks.scorers import load_scorer
from tasks.versions import Version, find_version
from tasks.watch import Comparison, Reported, Texts, Watch

EVENT = "sentiflow.drift"
REFERENCE, NOW = "reference.npz", "now.npz"

_SCHEMA = pa.schema([("text", pa.string())])


@task(name="collect", task_run_name="collect", persist_result=False)
def collect(watch: Watch) -> Texts:
    """Gather the texts since the last look, each once: a probe that asks the same every second is no drift.

    Written: a table in the work folder.
    """
    file = watch.work / "texts.parquet"
    seen = text_log_reader.read_seen(watch.log, watch.model)
    sources: Counter[str] = Counter()
    known: set[int] = set()
    first = last = ""
    with (
        text_log_reader.unread(watch.log, watch.model, seen) as unread,
        pq.ParquetWriter(file, _SCHEMA) as table,
    ):
        for batch in _batched(unread.entries()):
            new = {hash(entry.text): _readable(entry.text) for entry in batch if hash(entry.text) not in known}
            known |= new.keys()
            table.write_table(pa.table([list(new.values())], schema=_SCHEMA))
            sources.update(entry.source for entry in batch)
            times = [entry.at for entry in batch]
            first, last = min(times + [first or times[0]]), max([*times, last])
    repeated = sources.total() - len(known)
    texts = Texts(
        file, len(known), repeated, unread.skipped, first, last, dict(sources), unread.seen, unread.begins
    )
    get_run_logger().info("%d new texts, %d repeated, %d lines skipped", len(known), repeated, unread.skipped)
    return texts


@task(name="compare", task_run_name="compare", persist_result=False)
def compare(watch: Watch, texts: Texts) -> Comparison:
    """Measure texts and reviews in the same way, with the version that answers, and hold them against each other.

    Written: both sides' figures in the work folder.
    """
    settings = load_settings()
    version = find_version(settings, watch.model, None)
    scorer = load_scorer(settings, version)
    digest, table = reviews_of(version, settings)
    reference = drift_figures.of_reviews(reviews.read(table), scorer)
    now, unusual = measure(texts.file, scorer, reference)
    np.savez(watch.work / REFERENCE, **reference)  # type: ignore[arg-type]
    np.savez(watch.work / NOW, **now)  # type: ignore[arg-type]
    limits = Limits(settings.monitor_psi, settings.monitor_alpha)
    compared = drift.compare(reference, now, limits)
    facts = _facts(version, digest, texts) | {
        "words that no review of the training holds": f"{now[UNKNOWN].mean():.2%} of a text on average, against "
        f"{reference[UNKNOWN].mean():.2%} if each of those reviews were new",
    }
    told = Told(f"Drift of {watch.model}", compared, limits, facts, unusual)
    get_run_logger().info("%s", told.headline)
    return Comparison(version.number, digest, told)


@task(name="act", task_run_name="act", persist_result=False)
def act(watch: Watch, texts: Texts, comparison: Comparison, reported: Reported) -> None:
    """Emit the event that starts a training, if the limits were passed.

    Written: the event, in Prefect. Its id follows from where the texts begin: a look that was killed and is
    repeated tells the same event, of which Prefect takes note once.
    """
    if not comparison.told.drifted:
        return
    event = Event(
        id=uuid5(NAMESPACE_URL, f"{EVENT} {watch.model} {texts.key}"),
        event=EVENT,
        resource={"prefect.resource.id": f"sentiflow.model.{watch.model}", "prefect.resource.name": watch.model},
        related=_related(reported),
        payload={
            "model": watch.model,
            "version": comparison.version,
            "dataset": watch.dataset,
            "texts": texts.distinct,
            "figures": [asdict(figure) for figure in comparison.told.compared],
            "mlflow_run": reported.run_url,
        },
    )
    with get_client(sync_client=True) as client:  # returns once the server has it, unlike emit_event
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
    get_run_logger().info("Emitted %s for %s", EVENT, watch.model)


@task(name="remember", task_run_name="remember", persist_result=False)
def remember(watch: Watch, texts: Texts) -> None:
    """Keep where this look ended; killed before, the next one repeats it.

    Written: the bookmark beside the model's texts.
    """
    text_log_reader.write_seen(watch.log, watch.model, texts.seen)


def _related(reported: Reported) -> list[dict[str, str]]:
    flow_run = flow_run_tags()["prefect.flow_run_id"]
    return [
        {"prefect.resource.id": f"prefect.flow-run.{flow_run}", "prefect.resource.role": "flow-run"},
        {"prefect.resource.id": f"mlflow.run.{reported.run_id}", "prefect.resource.role": "report"},
    ]


def _facts(version: Version, digest: str, texts: Texts) -> dict[str, str]:
    sources = " and ".join(f"{count:,} {source}" for source, count in sorted(texts.sources.items()))
    return {
        "model": f"{version.name} version {version.number} ({version.why})",
        "dataset digest": digest,
        "texts": f"{texts.distinct:,} different ones, {texts.repeated:,} repeated; {sources}",
        "from": texts.first,
        "until": texts.last,
        "lines of the log that were no texts": f"{texts.skipped:,}",
    }


def _batched(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _readable(text: str) -> str:
    """Without halves of character pairs, which JSON can carry and no file of text."""
    return text.encode("utf-8", "replace").decode()
