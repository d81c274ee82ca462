"""What can be known to fail before a server is started for it."""

import tempfile

from sentiment.data.prepare import check_dataset
from sentiment.settings import Settings
from tasks.tracking import connect


def check(dataset: str, settings: Settings) -> None:
    """Check that the dataset can be asked for, that the data folder can be written and that the store answers.

    Raises:
        UsageError: no such table, or a mirror without its hash.
        WorldError: the store does not answer.
        OSError: the data folder cannot be written.
    """
    check_dataset(dataset, settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.data_dir):
        pass
    connect(settings)
