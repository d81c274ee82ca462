"""What keeps stores and folders from filling up."""

from prefect import flow

from sentiflow.children import end_with_schedule
from sentiflow.orchestration.notify import failed
from sentiflow.orchestration.repair import Care
from tasks.housekeeping import close_killed, remove_old_files, retire_flow_runs, retire_runs, tell


@flow(
    name="housekeeping",
    persist_result=False,
    on_running=[end_with_schedule],
    on_failure=[failed],
    on_crashed=[failed],
)
def housekeeping() -> Care:
    """Close what killed processes left open, and remove what is old.

    1. close killed runs: in MLflow and in Prefect; a run whose process lives is left alone
    2. remove old files: work of killed runs, datasets and downloads that nothing used for long
    3. retire runs: old MLflow runs without a version, if the settings say after how long
    4. retire flow runs: likewise in Prefect
    5. tell: a page in Prefect; what could not be done fails the flow run
    """
    return tell([close_killed(), remove_old_files(), retire_runs(), retire_flow_runs()])
