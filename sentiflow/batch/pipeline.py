"""Scoring of chunks in several processes of this machine or on a Dask cluster, and a sample of what was scored."""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

import sentiflow
from sentiflow.batch.dask import DaskWorkers
from sentiflow.batch.worker import BulkScorer, Scores
from sentiflow.data.rows import Chunk
from sentiflow.errors import ExternalError
from sentiflow.scoring import TextScorer

MOST = 5_000  # texts a run: the monitor's figures are steady with far fewer


class Sample:
    """The rows that drew the lowest lots, of all that were added; the texts of others are not kept.

    So memory is bounded, and the sample is even without knowing how long the input is. The same input gives the
    same sample.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._random = most, np.random.default_rng(0)
        self._kept: list[tuple[float, int, str, float]] = []  # lot, row, text, score; the lowest lot first

    def add(self, chunk: Chunk, scores: NDArray[np.float64]) -> None:
        """Consider the rows of the next chunk."""
        lots = self._random.random(len(chunk.rows)).tolist()
        below = self._kept[-1][0] if len(self._kept) == self._most else 1.0
        rows = zip(lots, chunk.rows, chunk.texts, scores.tolist(), strict=True)
        self._kept = sorted([*self._kept, *(row for row in rows if row[0] < below)])[: self._most]

    def rows(self, size: int) -> list[tuple[int, str, float]]:
        """Row number, text and score of the sample, in the order of the input.

        Args:
            size: bytes that all rows together may have; beyond, the sample is smaller, and as even. A text of more
                than a sixteenth of them is left out.
        """
        small = [row for row in self._kept if _logged_size(row[2]) <= size / 16]
        ends = accumulate(_logged_size(row[2]) for row in small)
        return sorted(row[1:] for row, end in zip(small, ends, strict=True) if end <= size)


def _logged_size(text: str) -> int:
    return len(text.encode()) + 100  # bytes; the hundred are about what stands beside the text


_ROOT = str(Path(sentiflow.__file__).parents[1])
# Each process is one core's: BLAS's own threads would only wait for each other.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Of glibc, in bytes: what a chunk frees is kept for the next one, else a tenth of the time goes into page faults.
_KEPT_MEMORY = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(32 * 2**20))


class Workers:
    """So many scoring processes, from entering the context until leaving it.

    Started as commands of their own, not by ``multiprocessing``: that would import the caller's main module again
    (all of Prefect, in a flow), and leave processes behind when the caller is killed.
    """

    def __init__(self, scorer: TextScorer, number: int) -> None:
        self._scorer = scorer
        self.number = number
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(number, "scoring")

    def __enter__(self) -> "Workers":
        self._all = [_Worker() for _ in range(self.number)]
        scorer = pickle.dumps(BulkScorer(self._scorer))  # while they start
        for worker in self._all:
            worker.unsent = scorer
            self._idle.put(worker)
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in self._all:
            worker.stop()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()

    def score(self, texts: Sequence[str]) -> Callable[[], Scores]:
        """Begin to score some texts; what is returned waits for it, and raises ExternalError if a process ends."""
        return self._threads.submit(self._score, texts).result

    def _score(self, texts: Sequence[str]) -> Scores:
        worker = self._idle.get()
        try:
            return worker.score(texts)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process and the connection to it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sentiflow.batch.worker", str(theirs.fileno())],
                env={**os.environ, **_ONE_THREAD, **_KEPT_MEMORY, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the starter's to answer
            )
        self.unsent = b""  # what it needs before its first texts

    def score(self, texts: Sequence[str]) -> Scores:
        try:
            if self.unsent:
                self._connection.send_bytes(self.unsent)
                self.unsent = b""
            self._connection.send(texts)
            scores: Scores = self._connection.recv()
        except (EOFError, OSError) as err:
            code = self._process.wait()
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise ExternalError(
                f"A scoring process ended {how}.",
                "Run the same command again. If memory is short, use fewer --workers.",
            ) from err
        return scores

    def stop(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.wait()
        self._connection.close()


_WAITING = 2  # chunks a worker has before it: one to score, one to score next


def score_chunks(
    chunks: Iterable[Chunk], scorer: TextScorer, pool: Workers | DaskWorkers | None
) -> Generator[tuple[Chunk, Scores]]:
    """Chunks with their scores, in order; without a pool this process scores.

    So few are read ahead that memory stays flat.
    """
    if pool is None:
        bulk = BulkScorer(scorer)
        for chunk in chunks:
            yield chunk, bulk.score(chunk.texts)
        return
    waiting: deque[tuple[Chunk, Callable[[], Scores]]] = deque()
    with pool:
        for chunk in chunks:
            waiting.append((chunk, pool.score(chunk.texts)))
            if len(waiting) >= _WAITING * pool.number:
                first, scores = waiting.popleft()
                yield first, scores()
        for first, scores in waiting:
            yield first, scores()
