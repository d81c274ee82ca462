"""Processes that score side by side."""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

import sentiment
from sentiment.batch.words import BulkScorer
from sentiment.errors import WorldError
from sentiment.scoring import TextScorer

Scores = NDArray[np.float64]

_ROOT = str(Path(sentiment.__file__).parents[1])
# Each process is one core's: BLAS's own threads would only wait for each other.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Workers:
    """So many scoring processes, from entering the context until leaving it.

    Started as commands of their own, not by ``multiprocessing``: that would import the caller's main module again
    (all of Prefect, in a flow), and leave processes behind when the caller is killed.
    """

    def __init__(self, scorer: TextScorer, number: int) -> None:
        self._scorer = scorer
        self.number = number
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all: list[_Worker] = []
        self._threads = ThreadPoolExecutor(number, "scoring")

    def __enter__(self) -> "Workers":
        for _ in range(self.number):
            self._all.append(_Worker())
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

    def score(self, texts: Sequence[str]) -> "Future[Scores]":
        """Scores of some texts, once a process has got to them.

        The future raises WorldError when that process has ended.
        """
        return self._threads.submit(self._score, texts)

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
                [sys.executable, "-P", "-m", "sentiment.batch.worker", str(theirs.fileno())],
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the starter's to answer
            )
        self.unsent = b""
        """What it needs before its first texts."""

    def score(self, texts: Sequence[str]) -> Scores:
        try:
            if self.unsent:
                self._connection.send_bytes(self.unsent)
                self.unsent = b""
            self._connection.send(texts)
            scores: Scores = self._connection.recv()
        except (EOFError, OSError) as err:
            raise WorldError(
                f"A scoring process ended {self._how()}.",
                "What is finished is kept: run the same command again. Short of memory, take fewer --workers.",
            ) from err
        return scores

    def stop(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.wait()
        self._connection.close()

    def _how(self) -> str:
        code = self._process.wait()
        return f"by signal {-code}" if code < 0 else f"with exit code {code}"
