"""Clean-up of stores and folders."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from prefect import Task, task
from prefect.artifacts import create_markdown_artifact

from sentiflow.errors import ExternalError
from sentiflow.operations import housekeeping as cleaning
from sentiflow.operations.housekeeping import CleanupReport
from sentiflow.operations.job import job
from sentiflow.settings import Settings, load_settings

logger = logging.getLogger(f"sentiflow.{__name__}")


def _step(name: str, clean: Callable[[Settings, CleanupReport], None]) -> Task[[], CleanupReport]:
    """A task that notes what failed, so that the next step is taken all the same."""

    def step() -> CleanupReport:
        report = CleanupReport()
        with report.attempt(name):
            clean(load_settings(), report)
        return report

    return Task(step, name=name, task_run_name=name, persist_result=False)


def _close(settings: Settings, report: CleanupReport) -> None:
    report.add(cleaning.close_killed(settings, datetime.now(UTC)))


def _remove(settings: Settings, report: CleanupReport) -> None:
    cleaning.delete_old_files(settings, cleaning.digests_of_champions(settings), report)


close_killed = _step("close killed runs", _close)
remove_old_files = _step("remove old files", _remove)
retire_runs = _step("retire runs", cleaning.delete_old_runs)


@task(name="report", task_run_name="report", persist_result=False)
def publish_report(steps: list[CleanupReport]) -> CleanupReport:
    """Add up what was done; an error if something could not be."""
    report = CleanupReport()
    for step in steps:
        report.add(step)
    create_markdown_artifact(report.markdown(), key="housekeeping", description="What was closed and cleared away")
    if report.failures:
        for line in report.lines():
            logger.info("%s", line)
        raise ExternalError(
            f"Housekeeping could not {'; '.join(report.failures)}.",
            "The rest is done. Run again once the cause is removed: sentiflow housekeeping",
        )
    return report


@job()
def housekeeping() -> CleanupReport:
    """Close what killed processes left open, and remove what is old.

    1. close killed runs: in MLflow and in Prefect; a run whose process lives is left alone
    2. remove old files: work of killed runs, datasets and downloads that nothing used for long
    3. retire runs: old MLflow runs without a version, if the settings say after how long
    4. report: a page in Prefect; what could not be done fails the flow run
    """
    return publish_report([close_killed(), remove_old_files(), retire_runs()])
