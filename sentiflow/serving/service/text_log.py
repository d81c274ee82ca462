"""Writes the texts that were answered to the log for monitoring, where the settings ask for it."""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from sentiflow.monitoring.text_log import SERVED, Entry, TextLog
from sentiflow.serving.service.middleware import Metrics
from sentiflow.tracking.types import Version

logger = logging.getLogger(__name__)

_SECONDS = 0.5  # between two writes
_CHARACTERS = 16_000_000  # that may wait; a disk that is slower than this must not fill the memory


class Keeper:
    """A thread that writes texts and scores, so that no answer waits for the disk; without a log, nothing."""

    def __init__(self, log: TextLog | None, metrics: Metrics) -> None:
        self._log, self._metrics = log, metrics
        self._waiting: list[Entry] = []
        self._characters = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._failing = False
        # A daemon: a disk that hangs must not delay the end of the process.
        self._thread = threading.Thread(target=self._run, args=(log,), name="keeper", daemon=True)

    def start(self) -> None:
        """Start to write, if there is a log."""
        if self._log is not None:
            self._thread.start()

    def close(self) -> None:
        """Write what waits, then end."""
        self._closed.set()
        if self._log is not None:
            self._thread.join(10)

    def keep(self, version: Version, texts: Sequence[str], scores: Sequence[float]) -> None:
        """Hand over texts and the scores that a version gave them."""
        if self._log is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        size = sum(map(len, texts))
        with self._lock:
            if fits := self._characters + size <= _CHARACTERS:
                self._characters += size
                self._waiting += [
                    Entry(at, SERVED, version.name, version.number, score, text)
                    for text, score in zip(texts, scores, strict=True)
                ]
        if not fits:
            self._metrics.not_kept.inc(len(texts))

    def _run(self, log: TextLog) -> None:
        closed = False
        while not closed:
            closed = self._closed.wait(_SECONDS)
            with self._lock:
                entries, self._waiting, self._characters = self._waiting, [], 0
            if entries:
                self._write(log, entries)

    def _write(self, log: TextLog, entries: Sequence[Entry]) -> None:
        try:
            written = log.append(entries)
        except OSError as err:
            self._metrics.not_kept.inc(len(entries))
            if not self._failing:
                logger.warning("Texts are answered, but not kept for monitoring: %s", err)
            self._failing = True
            return
        if self._failing:
            logger.info("Texts are kept for monitoring again.")
        self._failing = False
        self._metrics.kept.inc(written)
        self._metrics.not_kept.inc(len(entries) - written)
