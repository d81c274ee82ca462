"""A sample of what a scoring run scores, for monitoring."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sentiment.batch.pipeline import See, nobody_sees
from sentiment.batch.sample import Sample
from sentiment.settings import Settings
from sentiment.text_log import SCORED, Entry, TextLog
from tasks.text_log import MEGABYTE, text_log
from tasks.versions import Version

_SHARE = 8  # of the log that one run may fill: an eighth


@contextmanager
def sampling(settings: Settings, version: Version, say: Callable[[str], None]) -> Iterator[See]:
    """Gather an even sample of what is scored meanwhile, and write it to the text log when that ends, however.

    A log that cannot be written fails no scoring; ``say`` is told.
    """
    log = text_log(settings)
    if log is None:
        yield nobody_sees
        return
    sample = Sample()
    try:
        yield sample.add
    finally:
        try:
            _write(log, sample, version, int(settings.text_log_mb * MEGABYTE) // _SHARE)
        except OSError as err:
            say(f"Of what was scored nothing is kept for monitoring: {err}.")


def _write(log: TextLog, sample: Sample, version: Version, characters: int) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    rows = sample.rows(characters)
    log.append([Entry(at, SCORED, version.name, version.number, score, text) for _row, text, score in rows])
