"""Runs as reports know them, gathered from the store and from what lies on this machine.

What an older run did not record, or what was cleared away since, is left out and said.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq

from sentiment import slices
from sentiment.data import reviews
from sentiment.errors import WorldError
from sentiment.gate import ScoreTable
from sentiment.reports.account import PARAMETERS, Account, Tested
from sentiment.run_record import RunRecord
from sentiment.scoring import TextScorer
from sentiment.settings import Settings
from sentiment.slices import Traits
from tasks.run_store import SCORES, RunStore, score_table
from tasks.scorers import load_scorer
from tasks.versions import Version

_SUMMARY = "model_summary.txt"
_TOTAL = re.compile(r"Total params: ([\d,]+)")


def gather(store: RunStore, records: Sequence[RunRecord], settings: Settings, folder: Path) -> list[Account]:
    """Everything that reports tell of some runs.

    Args:
        store: that holds them.
        records: of the runs.
        settings: of the store, and where datasets are.
        folder: for files that have to be fetched.
    """
    versions = store.versions()
    tested = cache(lambda dataset, digest: _tested(settings, dataset, digest))
    return [
        _Gathering(store, record, settings, folder, versions.get(record.run_id), tested).account()
        for record in records
    ]


class _Gathering:
    """One run, and what of it could not be had so far."""

    def __init__(
        self,
        store: RunStore,
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
            self._with_parameters(),
            self._store.history(self._record.run_id),
            table,
            None if table is None else self._traits(table, tested),
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

    def _traits(self, table: ScoreTable, tested: Tested | None) -> Traits | None:
        """As the run noted them, else measured on the dataset."""
        path = self._store.file(self._record, SCORES, self._folder)
        if path is not None and {"unknown", "negated"} <= set(pq.read_schema(path).names):
            columns = pq.read_table(path, columns=["unknown", "negated"])
            return Traits(columns["unknown"].to_numpy(), columns["negated"].to_numpy())
        rows = None if tested is None else tested.rows(table.review_id)
        size = self._record.params.get("vocabulary_size", "")
        if tested is None or rows is None or not size.isdecimal():
            self._missing.append("Its score table is of an older kind: no slices by words without the reviews.")
            return None
        return slices.traits_of(tested.test, tested.words, int(size)).take(rows)

    def _scorer(self) -> TextScorer | None:
        if self._version is None:
            self._missing.append("No version of it is registered: no word-by-word readings.")
            return None
        name, _, number = self._version.rpartition(" v")
        try:
            registry = self._store.registry
            facts = None if registry is None else registry.facts(name, int(number))
            if facts is None:
                raise WorldError(f"{self._version} was deleted.")
            return load_scorer(self._settings, Version(name, int(number), "asked for", facts.location))
        except WorldError as err:
            self._missing.append(f"No word-by-word readings: {err.args[0]}")
            return None

    def _with_parameters(self) -> RunRecord:
        """An older run tells how many numbers it trained in its summary of the network alone."""
        record = self._record
        path = None if PARAMETERS in record.metrics else self._store.file(record, _SUMMARY, self._folder)
        told = _TOTAL.search(path.read_text(encoding="utf-8")) if path is not None else None
        if told is None:
            return record
        return replace(record, metrics={**record.metrics, PARAMETERS: float(told[1].replace(",", ""))})


def _tested(settings: Settings, dataset: str, digest: str) -> Tested | None:
    """The reviews of a dataset, if they are on this machine."""
    path = settings.data_dir / "datasets" / dataset / f"{digest}.parquet"
    if not dataset or not digest or not reviews.is_whole(path):
        return None
    content = reviews.read(path)
    return Tested(content.of("test"), reviews.read_vocabulary(path), content.of("train").n_tokens)
