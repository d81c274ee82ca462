"""Reports on runs of the store: one run, or several held against each other.

``report_on`` makes a report of run ids; ``log_report`` stores it on a run as its page and description. Both are
for whatever has made runs: repeats, a sweep, baselines, the command line.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.reports import one, several
from sentiment.reports.blocks import Report
from sentiment.run_record import TRIAL, RunRecord
from sentiment.settings import Settings
from tasks.accounts import gather
from tasks.members import PARENTS, members
from tasks.run_store import RunStore, open_store

if TYPE_CHECKING:  # seconds to import, and a report that is only read needs none of it
    from mlflow.tracking import MlflowClient

PAGE = "report.html"
NOTE = "mlflow.note.content"


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


def report_of(store: RunStore, records: Sequence[RunRecord], settings: Settings, title: str = "") -> Report:
    """What ``report_on`` does, of runs that were looked up already."""
    runs = _once([each for record in records for each in _members(store, record, alone=len(records) == 1)])
    with tempfile.TemporaryDirectory() as folder:
        accounts = gather(store, runs, settings, Path(folder))
    if len(accounts) == 1:
        return one.report(accounts[0])
    named = f"{records[0].name}: {len(runs)} runs compared" if len(records) == 1 else ""
    return several.report(accounts, title or named, [each for each in records if each.kind in PARENTS])


def log_report(client: "MlflowClient", run_id: str, report: Report, *lines: str) -> str:
    """Store a report on a run: the page as ``report.html``, the summary as the run's description.

    Args:
        client: of the store.
        run_id: of the run.
        report: on it, or on the runs below it.
        lines: Markdown that follows the lead of the summary.

    Returns:
        The summary.
    """
    text = report.markdown(*lines)
    log_page(client, run_id, report)
    client.set_tag(run_id, NOTE, text)
    return text


def log_page(client: "MlflowClient", run_id: str, report: Report, name: str = PAGE) -> None:
    """Store the page of a report on a run, and leave its description alone."""
    client.log_text(run_id, report.page(), name)


def _members(store: RunStore, record: RunRecord, *, alone: bool) -> list[RunRecord]:
    """What a run stands for; trials, which saw no test review, only where there is nothing else."""
    found = members(store, record)
    tested = [run for run in found if run.kind != TRIAL]
    return found if alone or not tested else tested


def _once(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return list({run.run_id: run for run in runs}.values())
