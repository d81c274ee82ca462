"""Tasks: what the monitor reads, its check for drift and its report."""

import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import get_run_logger, runtime, task
from prefect.client.orchestration import get_client
from prefect.events import Event

from sentiflow.data import prepare, reviews
from sentiflow.errors import UsageError, WorldError
from sentiflow.locks import file_lock
from sentiflow.monitoring import drift, text_log
from sentiflow.monitoring import report as drift_report
from sentiflow.monitoring.drift import UNKNOWN, Floats, Limits, Unusual
from sentiflow.monitoring.report import Told
from sentiflow.monitoring.text_log import Entry
from sentiflow.names import BUILT_IN, dataset_name, model_name
from sentiflow.orchestration.repair import RUNNING, close
from sentiflow.reports import plots
from sentiflow.runs.record import KIND, MONITOR
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings, load_settings
from sentiflow.tracking.client import OpenRun, connect, experiment_id, tracking_errors
from sentiflow.tracking.store import open_store
from sentiflow.tracking.types import Version
from sentiflow.tracking.versions import find_version, load_scorer
from tasks.runs import create, flow_run_tags, provenance, publish_summary

LOCK = "monitor.lock"
"""The tag of a run that says which lock is held while it is open."""

_WORK = ".look"


@dataclass(frozen=True)
class Watch:
    """A look that has begun.

    Attributes:
        dataset: its name.
        model: registered name.
        log: folder of the text log.
        lock: what is held meanwhile, as runs are tagged with it.
        work: folder for files that steps hand on; gone at the end.
    """

    dataset: str
    model: str
    settings: Settings
    log: Path
    lock: str
    work: Path


@dataclass(frozen=True)
class Texts:
    """What a look has to look at.

    Attributes:
        file: a Parquet table, each text once.
        distinct: how many texts that are.
        repeated: how many more came that were the same as another.
        skipped: lines of the log that were no texts.
        first: when the first one was scored, UTC; empty when there is none.
        last: likewise.
        sources: how many came from where.
        seen: where the next look begins.
        key: tells where this look begins: a look that is repeated has the same.
    """

    file: Path
    distinct: int
    repeated: int
    skipped: int
    first: str
    last: str
    sources: dict[str, int]
    seen: dict[str, int]
    key: str


@dataclass(frozen=True)
class Comparison:
    """What the texts were compared with, and what came of it; figures stand in the work folder.

    Attributes:
        version: that scored both sides.
        digest: of the dataset.
        told: the outcome, to tell.
    """

    version: int
    digest: str
    told: Told


@dataclass(frozen=True)
class Look:
    """What came of a look.

    Attributes:
        model: registered name.
        texts: how many new ones there were, each once.
        message: the outcome in a sentence or two.
        drifted: what people call the figures that passed the limits.
        told: the comparison; None when there were too few texts for one.
        run_url: of the report in MLflow; empty without one.
    """

    model: str
    texts: int
    message: str
    drifted: tuple[str, ...] = ()
    told: Told | None = None
    run_url: str = ""


def too_few(watch: Watch, texts: Texts) -> Look:
    """A look that found less than it needs; the texts stay for the next one."""
    counts = f"{texts.distinct:,} new texts tell too little, {watch.settings.monitor_least:,} are needed"
    return Look(watch.model, texts.distinct, f"{counts}: they wait for the next look.")


def told_of(watch: Watch, texts: Texts, comparison: Comparison, reported: OpenRun) -> Look:
    """A look that came to its end."""
    told = comparison.told
    return Look(watch.model, texts.distinct, f"{told.headline}.", told.drifted, told, reported.url)


@contextmanager
def watching(dataset: str) -> Iterator[Watch]:
    """Keep a look at the texts of a dataset's model to this process, and close what killed looks left.

    Raises:
        UsageError: no text log is kept.
        WorldError: another look at this model is running, or the store fails.
    """
    settings = load_settings()
    if settings.text_log is None:
        raise UsageError(
            "No log of the texts that were scored or served is kept, so there is nothing to monitor.",
            "Set SENTIFLOW_TEXT_LOG to a folder, for this command and for the service and the scorer.",
        )
    model = model_name(dataset)
    folder = settings.text_log / model
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Beside the texts, as it holds texts, too.
    held, work = f"{socket.gethostname()}:{folder}", folder / _WORK
    watch = Watch(dataset_name(dataset), model, settings, settings.text_log, held, work)
    with file_lock(folder / ".look.lock", f"Another look at {model}", "monitoring"):
        try:
            _reconcile(watch)
            watch.work.mkdir(mode=0o700)
            yield watch
        finally:
            shutil.rmtree(watch.work, ignore_errors=True)


def _reconcile(watch: Watch) -> None:
    """Close what looks left that were killed; their lock is held, so none lives."""
    shutil.rmtree(watch.work, ignore_errors=True)
    settings = watch.settings
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        experiment = experiment_id(client, settings)
        for run in client.search_runs([experiment], f"{RUNNING} and tags.`{LOCK}` = '{watch.lock}'"):
            close(client, run, "its process was killed; closed by the next look", get_run_logger())


BATCH = 2_048  # texts in memory at a time
_UNUSUAL, _CHARACTERS = 6, 600  # texts shown in the report, and of each


def measure(
    file: Path, scorer: TextScorer, reference: dict[str, Floats]
) -> tuple[dict[str, Floats], list[Unusual]]:
    """Figures of all texts, and the most unusual ones, a batch at a time."""
    parts: list[dict[str, Floats]] = []
    unusual: list[Unusual] = []
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(BATCH):
            texts = batch["text"].to_pylist()
            parts.append(drift.of_texts(texts, scorer))
            unusual += drift.most_unusual(texts, parts[-1], reference, _UNUSUAL, _CHARACTERS)
            unusual = sorted(unusual, key=lambda text: -text.surprise)[:_UNUSUAL]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, unusual


def reviews_of(version: Version, settings: Settings) -> tuple[str, Path]:
    """Digest and table of the reviews that a version learned from; built-in ones that are gone are made again.

    Raises:
        WorldError: they are not on this machine.
    """
    found = open_store(settings).version(version.name, version.number)
    tags = {} if found is None else found.tags
    dataset, digest = tags.get("dataset", ""), tags.get("dataset.digest", "")
    table = settings.data_dir / "datasets" / dataset / f"{digest}.parquet"
    if not reviews.is_whole(table) and dataset in BUILT_IN:
        prepare.prepare(prepare.fetch(dataset, settings), settings)
    if not reviews.is_whole(table):
        raise WorldError(
            f"The reviews that {version.name} version {version.number} learned from are not at {table}.",
            "Train again on this machine, or bring the file here.",
        )
    return digest, table


EVENT = "sentiflow.drift"
REFERENCE, NOW = "reference.npz", "now.npz"

_SCHEMA = pa.schema([("text", pa.string())])


@task(name="collect", task_run_name="collect", persist_result=False)
def collect(watch: Watch) -> Texts:
    """Gather the texts since the last look, each once: a probe that asks the same every second is no drift.

    Written: a table in the work folder.
    """
    file = watch.work / "texts.parquet"
    seen = text_log.read_seen(watch.log, watch.model)
    sources: Counter[str] = Counter()
    known: set[int] = set()
    first = last = ""
    with (
        text_log.unread(watch.log, watch.model, seen) as unread,
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
    settings = watch.settings
    version = find_version(settings, watch.model, None)
    scorer = load_scorer(settings, version)
    digest, table = reviews_of(version, settings)
    reference = drift.of_reviews(reviews.read(table), scorer)
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
def act(watch: Watch, texts: Texts, comparison: Comparison, reported: OpenRun) -> None:
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
            "mlflow_run": reported.url,
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
    text_log.write_seen(watch.log, watch.model, texts.seen)


def _related(reported: OpenRun) -> list[dict[str, str]]:
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


@task(name="report", task_run_name="report", persist_result=False)
def report(watch: Watch, texts: Texts, comparison: Comparison) -> OpenRun:
    """Report what was found.

    Written: an MLflow run with metrics ``drift/*``, pictures and the report; in Prefect a table and a link.
    """
    folder = _draw(watch, comparison)
    run = _open(watch, comparison)
    try:
        run.log(_metrics(texts, comparison))
        run.upload(folder)
        publish_summary(
            run, drift_report.report(comparison.told, {}).markdown(), "drift", comparison.told.headline
        )
    except BaseException:
        run.close("FAILED")
        raise
    run.close()
    return run


def _open(watch: Watch, comparison: Comparison) -> OpenRun:
    tags = {
        KIND: MONITOR,
        LOCK: watch.lock,
        "dataset": watch.dataset,
        "dataset.digest": comparison.digest,
        "monitor.model": watch.model,
        "monitor.version": str(comparison.version),
        "monitor.drift": ", ".join(comparison.told.drifted) or "none",
        **provenance(),
    }
    experiment = experiment_id(connect(watch.settings), watch.settings)
    return create(OpenRun("", str(runtime.flow_run.name), experiment, watch.settings), tags)


def _metrics(texts: Texts, comparison: Comparison) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for figure in comparison.told.compared:
        metrics[f"drift/{figure.name}_psi"] = figure.psi
        metrics[f"drift/{figure.name}_p"] = figure.p
        metrics[f"drift/{figure.name}_median"] = figure.now
        metrics[f"drift/{figure.name}_median_reviews"] = figure.reference
    counts = {"texts": texts.distinct, "repeated": texts.repeated, "skipped": texts.skipped}
    return metrics | {f"drift/{name}": float(count) for name, count in counts.items()}


def _draw(watch: Watch, comparison: Comparison) -> Path:
    """Pictures and the page, in a folder of their own."""
    reference, now = (_read(watch.work / name) for name in (REFERENCE, NOW))
    figures = drift_report.pictures(reference, now, comparison.told.compared)
    folder = watch.work / "artifacts"
    plots.save(figures, folder / "plots")
    (folder / "report.html").write_text(drift_report.report(comparison.told, figures).page(), encoding="utf-8")
    return folder


def _read(file: Path) -> dict[str, Floats]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
