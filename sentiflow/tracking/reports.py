"""Reports of runs, made from the tracking store."""

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq

from sentiflow.data import reviews
from sentiflow.errors import WorldError
from sentiflow.evaluation.gate import ScoreTable
from sentiflow.evaluation.metrics import Traits
from sentiflow.reports import comparison
from sentiflow.reports import run as run_report
from sentiflow.reports.page import Report
from sentiflow.reports.summary import Account, Tested
from sentiflow.runs.record import TRIAL, RunRecord
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.tracking.store import PARENTS, SCORES, child_runs, open_store, score_table
from sentiflow.tracking.types import Store, Version
from sentiflow.tracking.versions import load_scorer


def gather(store: Store, records: Sequence[RunRecord], settings: Settings, folder: Path) -> list[Account]:
    """Everything that reports tell of some runs.

    Args:
        store: that holds them.
        records: of the runs.
        settings: of the store, and where datasets are.
        folder: for files that have to be fetched.
    """
    versions = store.versions_by_run()
    tested = cache(lambda dataset, digest: _tested(settings, dataset, digest))
    return [
        _Gathering(store, record, settings, folder, versions.get(record.run_id), tested).account()
        for record in records
    ]


class _Gathering:
    """One run, and what of it could not be had so far."""

    def __init__(
        self,
        store: Store,
        record: RunRecord,
        settings: Settings,
        folder: Path,
        version: str | None,
        tested: Callable[[str, str], Tested | None],
    ) -> None:
        self._store, self._settings, self._folder = store, settings, folder
        self._record, self._version, self._find_tested = record, version, tested
        self._missing: list[str] = []

    def account(self) -> Account:
        table = self._table()
        tested = self._tested() if table is not None else None
        return Account(
            self._record,
            self._store.history(self._record.run_id),
            table,
            None if table is None else self._traits(),
            tested,
            None if tested is None else self._scorer(),
            self._version,
            tuple(self._missing),
        )

    def _table(self) -> ScoreTable | None:
        try:
            table = score_table(self._store, self._record, self._folder)
        except WorldError as err:
            self._missing.append(str(err.args[0]))
            return None
        if table is None and "test/accuracy" in self._record.metrics:
            self._missing.append(
                f"The scores of the test reviews ({SCORES}) are gone: figures and slices are those that the run "
                "noted; no calibration curve, paired difference or worst error."
            )
        return table

    def _tested(self) -> Tested | None:
        record = self._record
        found = self._find_tested(record.dataset, record.digest or "")
        if found is None:
            name = record.dataset or "that name"
            self._missing.append(
                f"The reviews of {name} (digest {(record.digest or 'unknown')[:12]}) are not on this machine: no "
                f"texts. They come back with: sentiflow data --dataset {record.params.get('dataset', name)}"
            )
        return found

    def _traits(self) -> Traits | None:
        path = self._store.file(self._record, SCORES, self._folder)
        if path is None:
            return None
        columns = pq.read_table(path, columns=["unknown", "negated"])
        return Traits(columns["unknown"].to_numpy(), columns["negated"].to_numpy())

    def _scorer(self) -> TextScorer | None:
        if self._version is None:
            self._missing.append("No version of it is registered: no word-by-word readings.")
            return None
        name, _, number = self._version.rpartition(" v")
        try:
            return load_scorer(self._settings, Version(name, int(number), "asked for"))
        except WorldError as err:
            self._missing.append(f"No word-by-word readings: {err.args[0]}")
            return None


def _tested(settings: Settings, dataset: str, digest: str) -> Tested | None:
    """The reviews of a dataset, if they are on this machine."""
    path = settings.data_dir / "datasets" / dataset / f"{digest}.parquet"
    if not dataset or not digest or not reviews.is_whole(path):
        return None
    content = reviews.read(path)
    return Tested(content.of("test"), reviews.read_vocabulary(path), content.of("train").n_tokens)


PAGE = "report.html"


def report_on(settings: Settings, run_ids: Sequence[str], title: str = "") -> Report:
    """Report on one run, or hold several against the first.

    A parent stands for the finished runs below it; beside others, a sweep for the seeds of its best recipe.

    Args:
        settings: where the store and the datasets are.
        run_ids: whole ids; none twice.
        title: of the page; by default the run's name, or how many runs there are.

    Raises:
        UsageError: there is no such run, or none below a parent that has finished.
        WorldError: the store cannot be read.
    """
    store = open_store(settings)
    return report_of(store, [store.record(run_id) for run_id in run_ids], settings, title)


def report_of(store: Store, records: Sequence[RunRecord], settings: Settings, title: str = "") -> Report:
    """What ``report_on`` does, of runs that were looked up already."""
    runs = _once([each for record in records for each in _members(store, record, alone=len(records) == 1)])
    with tempfile.TemporaryDirectory() as folder:
        accounts = gather(store, runs, settings, Path(folder))
    if len(accounts) == 1:
        return run_report.report(accounts[0])
    named = f"{records[0].name}: {len(runs)} runs compared" if len(records) == 1 else ""
    return comparison.report(accounts, title or named, [each for each in records if each.kind in PARENTS])


def _members(store: Store, record: RunRecord, *, alone: bool) -> list[RunRecord]:
    """What a run stands for; trials, which saw no test review, only where there is nothing else."""
    found = child_runs(store, record)
    tested = [run for run in found if run.kind != TRIAL]
    return found if alone or not tested else tested


def _once(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return list({run.run_id: run for run in runs}.values())
