"""Clean-up of stores and folders."""

from sentiflow.operations.housekeeping import CleanupReport
from sentiflow.operations.job import job
from tasks.housekeeping import close_killed, publish_report, remove_old_files, retire_runs


@job()
def housekeeping() -> CleanupReport:
    """Close what killed processes left open, and remove what is old.

    1. close killed runs: in MLflow and in Prefect; a run whose process lives is left alone
    2. remove old files: work of killed runs, datasets and downloads that nothing used for long
    3. retire runs: old MLflow runs without a version, if the settings say after how long
    4. report: a page in Prefect; what could not be done fails the flow run
    """
    return publish_report([close_killed(), remove_old_files(), retire_runs()])
