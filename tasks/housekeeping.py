"""The steps of housekeeping."""

import logging
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client

from sentiflow.errors import ExternalError
from sentiflow.operations import repair
from sentiflow.operations.cleanup import delete_old_files, delete_old_runs, digests_of_champions
from sentiflow.operations.flow_runs import delete_ended
from sentiflow.operations.repair import CleanupReport
from sentiflow.settings import load_settings

logger = logging.getLogger(f"sentiflow.{__name__}")


@task(name="close killed runs", task_run_name="close killed runs", persist_result=False)
def close_killed() -> CleanupReport:
    """Close what no living process owns, in MLflow and in Prefect."""
    report = CleanupReport()
    with report.attempt("close killed runs"):
        report.add(repair.close_killed(load_settings(), logger, datetime.now(UTC)))
    return report


@task(name="remove old files", task_run_name="remove old files", persist_result=False)
def remove_old_files() -> CleanupReport:
    """Remove what nothing uses from the data folder."""
    report, settings = CleanupReport(), load_settings()
    with report.attempt("remove old files"):
        delete_old_files(settings, digests_of_champions(settings), report)
    return report


@task(name="retire runs", task_run_name="retire runs", persist_result=False)
def retire_runs() -> CleanupReport:
    """Delete old MLflow runs without a version, if the settings say after how long."""
    report = CleanupReport()
    with report.attempt("retire runs"):
        delete_old_runs(load_settings(), report)
    return report


@task(name="retire flow runs", task_run_name="retire flow runs", persist_result=False)
def retire_flow_runs() -> CleanupReport:
    """Delete old flow runs from Prefect, with their logs, if the settings say after how long."""
    report, days = CleanupReport(), load_settings().keep_flow_runs_days
    if days is None:
        return report
    with report.attempt("retire flow runs"), get_client(sync_client=True) as prefect:
        count = delete_ended(prefect, datetime.now(UTC) - timedelta(days=days))
        if count:
            report.removed.append(f"{count} flow run{'s' * (count > 1)} of Prefect")
    return report


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
