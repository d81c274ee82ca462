"""What can be known to fail before a server is started for it."""

import tempfile

from sentiment.data.prepare import check_dataset
from sentiment.settings import Settings


def check_data(dataset: str, settings: Settings) -> None:
    """Check that the dataset can be asked for and that the data folder can be written.

    Raises:
        UsageError: no such table, or a mirror without its hash.
        OSError: the data folder cannot be written.
    """
    check_dataset(dataset, settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.data_dir):
        pass
