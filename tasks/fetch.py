"""Bring a dataset's source to this machine."""

from prefect import get_run_logger, task

from sentiment.data import prepare
from sentiment.data.prepare import Source
from sentiment.settings import load_settings
from tasks.console import progress_bar
from tasks.results import RunContext
from tasks.tracking import connect, timed


@task(name="fetch", task_run_name="fetch", persist_result=False)
def fetch(run: RunContext) -> Source:
    """Fetch what is not here yet, verified; retries over the network are the download's own.

    Written: files under the data folder; ``time/fetch`` on the run.
    """
    settings = load_settings()
    with timed(connect(settings), run.run_id, "fetch"):
        source = prepare.fetch(run.dataset, settings, progress_bar)
    logger = get_run_logger()
    if source.fetched:
        logger.info("fetched %s, hash verified", ", ".join(file.name for file in source.files))
    elif source.files:
        logger.info("skipped: %s already here", ", ".join(file.name for file in source.files))
    else:
        logger.info("skipped: the reviews of %r are generated, nothing to fetch", source.name)
    return source
