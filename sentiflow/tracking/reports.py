"""Reports of runs, made from the tracking store."""

import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sentiflow.data import reviews
from sentiflow.data.prepare import kept_table
from sentiflow.errors import ExternalError
from sentiflow.evaluation.metrics import Traits
from sentiflow.reports import comparison
from sentiflow.reports import run as run_report
from sentiflow.reports.page import Report
from sentiflow.reports.summary import Curves, RunSummary, TestData
from sentiflow.runs.record import TRIAL, RunRecord
from sentiflow.settings import Settings
from sentiflow.tracking.store import PARENTS, SCORES, child_runs, open_store, score_table
from sentiflow.tracking.types import Store, Version
from sentiflow.tracking.versions import load_scorer

PAGE = "report.html"


def load_summaries(
    store: Store, records: Sequence[RunRecord], settings: Settings, folder: Path
) -> list[RunSummary]:
    """Everything that reports show of some runs; files that have to be downloaded go to the folder."""
    versions = store.versions_by_run()
    read_test_data = cache(partial(_read_test_data, settings))
    return [
        _summary(store, record, settings, folder, versions.get(record.run_id), read_test_data)
        for record in records
    ]


def _summary(
    store: Store,
    record: RunRecord,
    settings: Settings,
    folder: Path,
    version: str | None,
    read_test_data: Callable[[str, str], TestData | None],
) -> RunSummary:
    table = traits = test_data = scorer = None
    missing: list[str] = []
    try:
        table = score_table(store, record, folder)
        if table is not None and len(set(table.label.tolist())) < 2:
            table = None
            missing.append(
                f"The scores of the test reviews ({SCORES}) have labels of one class only: metrics and slices are "
                "those that the run logged."
            )
        elif table is None and "test/accuracy" in record.metrics:
            missing.append(
                f"The scores of the test reviews ({SCORES}) are gone: metrics and slices are those that the run "
                "logged; no calibration curve, paired difference or worst error."
            )
    except ExternalError as err:
        missing.append(str(err.args[0]))
    if table is not None and (path := store.file(record, SCORES, folder)) is not None:
        traits = _traits(path)
        if traits is None:
            missing.append(f"{SCORES} lacks columns: slices by words are those that the run logged.")
        test_data = read_test_data(record.dataset, record.digest or "")
        if test_data is not None and not np.isin(table.review_id, test_data.test.review_id).all():
            test_data = None
            missing.append(
                f"The reviews of {record.dataset} on this machine lack some that were scored: no texts."
            )
        elif test_data is None:
            name = record.dataset or "that name"
            missing.append(
                f"The reviews of {name} (digest {(record.digest or 'unknown')[:12]}) are not on this machine: no "
                f"texts. Prepare them with: sentiflow data --dataset {record.params.get('dataset', name)}"
            )
    if version is None and test_data is not None:
        missing.append("No version of it is registered: no word-by-word explanations.")
    elif version is not None and test_data is not None:
        name, _, number = version.rpartition("/")
        try:
            scorer = load_scorer(settings, Version(name, int(number), "asked for"))
        except ExternalError as err:
            missing.append(f"No word-by-word explanations: {err.args[0]}")
    curves = _curves(store, record)
    return RunSummary(record, curves, table, traits, test_data, scorer, version, tuple(missing))


def _traits(scores: Path) -> Traits | None:
    try:
        columns = pq.read_table(scores, columns=["unknown", "negated"])
    except (OSError, ValueError, KeyError):  # Arrow's are ValueErrors or KeyErrors
        return None
    return Traits(columns["unknown"].to_numpy(), columns["negated"].to_numpy())


def _curves(store: Store, record: RunRecord) -> Curves:
    """Metrics by epoch, without the step after the last epoch that repeats the kept one."""
    last = record.epochs_trained
    found = store.history(record.run_id)
    return {name: [at for at in points if last is None or at[0] <= last] for name, points in found.items()}


def _read_test_data(settings: Settings, dataset: str, digest: str) -> TestData | None:
    if not dataset or not digest or not (path := kept_table(dataset, digest, settings)).exists():
        return None
    content = reviews.read(path)
    words, lengths = reviews.read_vocabulary(path), content.of("train").n_tokens
    return TestData(content.of("test"), words, lengths, reviews.of_test(path, "place"))


def report_on(settings: Settings, run_ids: Sequence[str], title: str = "") -> Report:
    """The report of one run, or of several compared with the first.

    A parent stands for its finished child runs; beside others, a sweep stands for the seeds of its best recipe.
    The default title is the run's name, or how many runs there are.

    Raises:
        UsageError: there is no such run, or a parent has no finished child run.
        ExternalError: the store cannot be read.
    """
    store = open_store(settings)
    return report_of(store, [store.record(run_id) for run_id in run_ids], settings, title)


def report_of(store: Store, records: Sequence[RunRecord], settings: Settings, title: str = "") -> Report:
    """The same of runs that were read already."""
    runs = [run for record in records for run in _represented(store, record, alone=len(records) == 1)]
    runs = list({run.run_id: run for run in runs}.values())
    with tempfile.TemporaryDirectory() as folder:
        summaries = load_summaries(store, runs, settings, Path(folder))
    if len(summaries) == 1:
        return run_report.report(summaries[0])
    default = f"{records[0].name}: {len(runs)} runs compared" if len(records) == 1 else ""
    return comparison.report(summaries, title or default, [each for each in records if each.kind in PARENTS])


def _represented(store: Store, record: RunRecord, *, alone: bool) -> list[RunRecord]:
    """The runs that a run stands for; trials, which have no test scores, only if there is nothing else."""
    children = child_runs(store, record)
    tested = [run for run in children if run.kind != TRIAL]
    return children if alone or not tested else tested
