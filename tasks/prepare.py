"""Make the canonical table of a dataset."""

from prefect import get_run_logger, task

from sentiment.data import prepare as preparing
from sentiment.data.prepare import Prepared, Source
from sentiment.settings import load_settings
from tasks.dataset_input import log_dataset
from tasks.results import RunContext
from tasks.tracking import connect, timed, tracking_errors


@task(name="prepare", task_run_name="prepare", persist_result=False)
def prepare(run: RunContext, source: Source) -> Prepared:
    """Make and check the canonical table, or find the one made before.

    Written: the table under the data folder; digest, dataset and ``time/prepare`` on the run.
    """
    settings = load_settings()
    client = connect(settings)
    with timed(client, run.run_id, "prepare"):
        prepared = preparing.prepare(source, settings)
    with tracking_errors(settings.tracking_uri):
        log_dataset(client, run.run_id, source, prepared)
    done = "decoded and checked" if prepared.made else "skipped: decoded and checked already"
    get_run_logger().info("%s, digest %s", done, prepared.digest[:12])
    return prepared
