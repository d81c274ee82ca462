"""Reports of runs, made from the tracking store."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from sentiflow.data import reviews
from sentiflow.data.prepare import kept_table
from sentiflow.errors import ExternalError
from sentiflow.reports import one_run as run_report
from sentiflow.reports import several_runs as comparison
from sentiflow.reports.page import Report
from sentiflow.reports.summary import Curves, RunSummary, TestData
from sentiflow.runs.record import TRIAL, RunRecord
from sentiflow.settings import Settings
from sentiflow.store.find import PARENTS, SCORES, child_runs, open_store, score_table
from sentiflow.store.types import Store, Version
from sentiflow.store.versions import load_scorer

PAGE = "report.html"


def load_summaries(
    store: Store, records: Sequence[RunRecord], settings: Settings, *, whole: bool = True
) -> list[RunSummary]:
    """What reports show of some runs; if not ``whole``, without curves, texts and models.

    A parent stands for its finished child runs; beside others, a sweep stands for the seeds of its best recipe.
    """
    found = [run for record in records for run in _represented(store, record, alone=len(records) == 1)]
    runs = list({run.run_id: run for run in found}.values())
    versions = store.versions_by_run()
    read_test_data = cache(partial(_read_test_data, settings))
    with tempfile.TemporaryDirectory() as folder:
        summaries = [_summary(store, run, Path(folder), versions.get(run.run_id)) for run in runs]
    if not whole:
        return summaries
    return [_with_texts(store, summary, settings, read_test_data) for summary in summaries]


def _summary(store: Store, record: RunRecord, folder: Path, version: str | None) -> RunSummary:
    table, missing = None, ""
    try:
        table = score_table(store, record, folder)
        if table is not None and len(set(table.label.tolist())) < 2:
            table = None
            missing = f"The scores of the test reviews ({SCORES}) have labels of one class only."
        elif table is None and "test/accuracy" in record.metrics:
            missing = (
                f"The scores of the test reviews ({SCORES}) are gone: no calibration curve, paired difference or "
                "worst error."
            )
    except ExternalError as err:
        missing = str(err.args[0])
    return RunSummary(record, {}, table, version=version, missing=(missing,) if missing else ())


def _with_texts(
    store: Store, run: RunSummary, settings: Settings, read: Callable[[str, str], TestData | None]
) -> RunSummary:
    """A run with its curves, the reviews that it scored, and its model."""
    record, missing, test_data, scorer = run.record, list(run.missing), None, None
    if run.table is not None:
        test_data = read(record.dataset, record.digest or "")
        if test_data is not None and not np.isin(run.table.review_id, test_data.test.review_id).all():
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
    if test_data is not None and run.version is None:
        missing.append("No version of it is registered: no word-by-word explanations.")
    elif test_data is not None and run.version is not None:
        name, _, number = run.version.rpartition("/")
        try:
            scorer = load_scorer(settings, Version(name, int(number), "asked for"))
        except ExternalError as err:
            missing.append(f"No word-by-word explanations: {err.args[0]}")
    curves = _curves(store, record)
    return replace(run, curves=curves, test_data=test_data, scorer=scorer, missing=tuple(missing))


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
    """The report of one run, or of several compared with the first; see ``load_summaries`` and ``report_of``."""
    store = open_store(settings)
    records = [store.record(run_id) for run_id in run_ids]
    return report_of(records, load_summaries(store, records, settings), title)


def report_of(
    records: Sequence[RunRecord],
    summaries: Sequence[RunSummary],
    title: str = "",
    *,
    everything: bool = False,
    whole: bool = True,
) -> Report:
    """The report of the summaries that runs stand for.

    The default title is the run's name, or how many runs there are. For the others see ``comparison.report``.
    """
    if len(summaries) == 1:
        return run_report.report(summaries[0], everything=everything, whole=whole)
    default = f"{records[0].name}: {len(summaries)} runs compared" if len(records) == 1 else ""
    parents = [each for each in records if each.kind in PARENTS]
    return comparison.report(summaries, title or default, parents, everything=everything, whole=whole)


def _represented(store: Store, record: RunRecord, *, alone: bool) -> list[RunRecord]:
    """The runs that a run stands for; trials, which have no test scores, only if there is nothing else."""
    children = child_runs(store, record)
    tested = [run for run in children if run.kind != TRIAL]
    return children if alone or not tested else tested
