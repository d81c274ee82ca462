"""What can be known to fail before a server is started for it."""

from sentiment.data.prepare import check_dataset
from sentiment.settings import Settings
from tasks.tracking import connect


def check(dataset: str, settings: Settings) -> None:
    """Check that the dataset can be asked for and that the tracking store answers.

    Raises:
        UsageError: no such table, or a mirror without its hash.
        WorldError: the store does not answer.
    """
    check_dataset(dataset, settings)
    connect(settings)
