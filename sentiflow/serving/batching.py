"""The threads that score texts and log them: the event loop neither computes nor waits for the disk."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import HTTPException

from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.serving.champion import Loaded
from sentiflow.serving.metrics import Metrics
from sentiflow.serving.middleware import SOON
from sentiflow.store.records import Version

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A batch's bounds: more texts in one call gain little, and long ones would let all others wait.
_TEXTS = 256
_CHARACTERS = 500_000
# Longest queue of what is worked on alone: explaining the longest text takes 0.1 to 0.2 s.
_ALONE = 32


@dataclass(frozen=True, eq=False)
class _Pending:
    """What a request waits for."""

    loaded: Loaded  # the champion when the request came; it answers
    texts: Sequence[str]
    work: Callable[[], Any] | None  # what to do with the text; None to score all of them
    answer: asyncio.Future[Any]


class Batcher:
    """A bounded queue, and the thread that scores all that wait in one call.

    Requests that arrive while it works become the next batch: an idle service adds no delay, a busy one shares the
    network's steps among many texts.
    """

    def __init__(self, max_waiting: int, metrics: Metrics) -> None:
        self._max, self._metrics = max_waiting, metrics
        self._jobs: deque[_Pending] = deque()  # to be scored together
        self._alone: deque[_Pending] = deque()  # one at a time, in turns with a batch of the others
        self._alone_next = False
        self._waiting = 0  # texts
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Finish what is queued, then end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    async def score(self, loaded: Loaded, texts: Sequence[str]) -> list[float]:
        scores: list[float] = await self._submit(loaded, texts, None)
        return scores

    async def alone(self, loaded: Loaded, text: str, work: Callable[[], T]) -> T:
        """Do some other work on a text when its turn comes."""
        done: T = await self._submit(loaded, [text], work)
        return done

    def _submit(self, loaded: Loaded, texts: Sequence[str], work: Callable[[], Any] | None) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        with self._changed:
            queue, most = (self._jobs, self._max) if work is None else (self._alone, _ALONE)
            if self._closed or self._waiting + len(texts) > self._max or len(queue) >= most:
                raise HTTPException(429, "Too many texts wait already; come back in a second.", SOON)
            self._waiting += len(texts)
            self._metrics.waiting.set(self._waiting)
            queue.append(_Pending(loaded, texts, work, answer))
            self._changed.notify()
        return answer

    def _run(self) -> None:
        while jobs := self._take():
            wanted = [job for job in jobs if not job.answer.cancelled()]
            if wanted:
                _deliver(wanted, self._results(wanted))

    def _take(self) -> list[_Pending]:
        """Wait for a job, and take with it those that can be scored in the same call; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._alone or self._closed)
            if self._alone and (self._alone_next or not self._jobs):
                taken = [self._alone.popleft()]
                self._alone_next = False
            else:
                taken = self._batch()
                self._alone_next = True
            self._waiting -= sum(len(job.texts) for job in taken)
            self._metrics.waiting.set(self._waiting)
            return taken

    def _batch(self) -> list[_Pending]:
        taken: list[_Pending] = []
        texts = characters = 0
        while self._jobs:
            job = self._jobs[0]
            texts, characters = texts + len(job.texts), characters + sum(map(len, job.texts))
            if taken and (job.loaded is not taken[0].loaded or texts > _TEXTS or characters > _CHARACTERS):
                break
            taken.append(self._jobs.popleft())
        return taken

    def _results(self, jobs: Sequence[_Pending]) -> list[Any]:
        """What each job gives: its result, or the exception that came instead."""
        try:
            self._metrics.texts.inc(sum(len(job.texts) for job in jobs))
            if jobs[0].work is not None:
                return [jobs[0].work()]
            texts = [text for job in jobs for text in job.texts]
            self._metrics.batches.observe(len(texts))
            scores = iter(jobs[0].loaded.scorer.score(texts, threads=1).tolist())
            return [[next(scores) for _ in job.texts] for job in jobs]
        except Exception as err:
            logger.exception("A batch of %d requests failed", len(jobs))
            return [err] * len(jobs)


def _deliver(jobs: Sequence[_Pending], results: Sequence[Any]) -> None:
    """Hand results over to the event loop, all in one call."""

    def hand_over() -> None:
        for job, result in zip(jobs, results, strict=True):
            if job.answer.done():  # given up meanwhile
                continue
            if isinstance(result, Exception):
                job.answer.set_exception(result)
            else:
                job.answer.set_result(result)

    loop = jobs[0].answer.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(hand_over)


_WRITE_SECONDS = 0.5  # between two writes
_DRIFT_SECONDS = 10.0  # between two looks for the outcome of a drift check
_MAX_UNWRITTEN = 16_000_000  # bytes, about; a disk that is slower than what comes must not fill the memory
_ENTRY_SIZE = 300  # of a text's entry, whatever its length


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
        size = sum(map(len, texts)) + _ENTRY_SIZE * len(texts)
        with self._lock:
            if fits := self._characters + size <= _MAX_UNWRITTEN:
                self._characters += size
                self._waiting += [
                    Entry(at, SERVED, version.name, version.number, score, text)
                    for text, score in zip(texts, scores, strict=True)
                ]
        if not fits:
            self._metrics.not_kept.inc(len(texts))

    def _run(self, log: TextLog) -> None:
        closed, shown_at = False, -_DRIFT_SECONDS
        while not closed:
            if time.monotonic() >= shown_at + _DRIFT_SECONDS:
                shown_at = time.monotonic()
                with suppress(OSError, ValueError):  # the next write says so
                    self._metrics.show_notes(log.notes())
            closed = self._closed.wait(_WRITE_SECONDS)
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
                logger.warning("Texts are answered, but not logged for monitoring: %s", err)
            self._failing = True
            return
        if self._failing:
            logger.info("Texts are logged for monitoring again.")
        self._failing = False
        self._metrics.kept.inc(written)
        self._metrics.not_kept.inc(len(entries) - written)
