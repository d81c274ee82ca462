"""A look for drift: one at a time a model, and what its steps hand on."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from prefect import get_run_logger

from sentiment.drift_report import Told
from sentiment.errors import UsageError, WorldError
from sentiment.names import dataset_name, model_name
from sentiment.settings import Settings, load_settings
from tasks.reconcile import RUNNING, close
from tasks.tracking import connect, experiment_id, tracking_errors

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
class Reported:
    """The MLflow run that holds the report."""

    run_id: str
    run_url: str


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


def too_few(watch: Watch, texts: Texts, least: int) -> Look:
    """A look that found less than it needs; the texts stay for the next one."""
    told = f"{texts.distinct:,} new texts tell too little, {least:,} are needed: they wait for the next look."
    return Look(watch.model, texts.distinct, told)


def told_of(watch: Watch, texts: Texts, comparison: Comparison, reported: Reported) -> Look:
    """A look that came to its end."""
    told = comparison.told
    return Look(watch.model, texts.distinct, f"{told.headline}.", told.drifted, told, reported.run_url)


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
    lock = FileLock(folder / ".look.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as err:
        raise WorldError(f"Another look at {model} is running.", "Wait for it to end.") from err
    # Beside the texts, as it holds texts, too.
    watch = Watch(
        dataset_name(dataset), model, settings.text_log, f"{socket.gethostname()}:{folder}", folder / _WORK
    )
    try:
        _reconcile(watch, settings)
        watch.work.mkdir(mode=0o700)
        yield watch
    finally:
        shutil.rmtree(watch.work, ignore_errors=True)
        lock.release()


def _reconcile(watch: Watch, settings: Settings) -> None:
    """Close what looks left that were killed; their lock is held, so none lives."""
    shutil.rmtree(watch.work, ignore_errors=True)
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        experiment = experiment_id(client, settings)
        for run in client.search_runs([experiment], f"{RUNNING} and tags.`{LOCK}` = '{watch.lock}'"):
            close(client, run, "its process was killed; closed by the next look", get_run_logger())
