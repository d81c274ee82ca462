"""Tasks: fetch a dataset and prepare its canonical table."""

from prefect import get_run_logger, task

from sentiflow.console import progress_bar
from sentiflow.data import prepare as preparing
from sentiflow.data.prepare import Prepared, Source
from sentiflow.data.table import TableOptions
from sentiflow.tracking.results import RunContext
from tasks.runs import log_dataset


@task(name="fetch", task_run_name="fetch", persist_result=False)
def fetch(run: RunContext, table: TableOptions) -> Source:
    """Fetch what is not here yet, verified; retries over the network are the download's own.

    Written: files under the data folder; ``time.fetch`` on the run.
    """
    with run.timed("fetch"):
        source = preparing.fetch(run.dataset, run.settings, progress_bar, table)
    logger = get_run_logger()
    if source.fetched:
        logger.info("fetched %s, hash verified", ", ".join(file.name for file in source.files))
    elif source.files:
        logger.info("skipped: %s already here", ", ".join(file.name for file in source.files))
    else:
        logger.info("skipped: the reviews of %r are generated, nothing to fetch", source.name)
    return source


@task(name="prepare", task_run_name="prepare", persist_result=False)
def prepare(run: RunContext, source: Source) -> Prepared:
    """Make and check the canonical table, or find the one made before.

    Written: the table under the data folder, a user's rejected rows beside their table; digest, dataset and
    ``time.prepare`` on the run, and of a user's table how it was read.
    """
    with run.timed("prepare"):
        prepared = preparing.prepare(source, run.settings)
    log_dataset(run, prepared)
    logger = get_run_logger()
    done = "decoded and checked" if prepared.made else "skipped: decoded and checked already"
    logger.info("%s, digest %s", done, prepared.digest[:12])
    if prepared.rejected:
        logger.warning("%s", prepared.rejected)
    return prepared
