"""Scoring of a whole input: read, score in several processes or on a Dask cluster, write."""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import accumulate
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import sentiflow
from sentiflow.batch.output import Parts, to_table
from sentiflow.batch.worker import BulkScorer
from sentiflow.console import Advance
from sentiflow.data.rows import Chunk, Input
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.output import redact, without_secrets
from sentiflow.scoring import TextScorer
from sentiflow.settings import INSTALL_TEAM, Settings
from sentiflow.tracking.types import Version

MOST = 5_000  # texts a run: the monitor's figures are steady with far fewer


class Sample:
    """The rows whose numbers hash lowest, of all that were added; the texts of others are not kept.

    A row's number alone decides, so that memory is bounded, the sample is even without knowing how long the input
    is, and it does not depend on how the work was shared out.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: list[tuple[int, int, str, float]] = []  # hash, row, text, score; the lowest hash first

    def add(self, chunk: Chunk, scores: NDArray[np.float64]) -> None:
        """Consider the rows of a chunk."""
        hashes = _hash(np.asarray(chunk.rows, np.uint64)).tolist()
        below = self._kept[-1][0] if len(self._kept) == self._most else 2**64
        rows = zip(hashes, chunk.rows, chunk.texts, scores.tolist(), strict=True)
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


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Well mixed bits of whole numbers, the last step of SplitMix64: equal ones only for equal numbers."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


Scores = NDArray[np.float64]

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
                "What is finished is kept: run the same command again. If memory is short, use fewer --workers.",
            ) from err
        return scores

    def stop(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.wait()
        self._connection.close()


REACH_SECONDS = 10
_CERTIFICATE = "Name its files in " + ", ".join(
    f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
)


def check_dask(settings: Settings) -> None:
    """Check what Dask needs of the settings and of this environment.

    Raises:
        UsageError: there is no address, no certificate for one of tls://, or Dask is not installed.
        ExternalError: the certificate's files cannot be read.
    """
    if settings.dask_address is None:
        raise UsageError(
            "The task runner dask needs the address of its scheduler.",
            "Set SENTIFLOW_DASK_ADDRESS, say to tcp://127.0.0.1:8786, or SENTIFLOW_TASK_RUNNER to processes.",
        )
    try:
        from distributed import Security
    except ImportError as err:
        raise UsageError(f"The task runner dask needs Dask: {err}.", INSTALL_TEAM) from err
    if settings.dask_address.startswith("tls://"):
        try:
            context = Security().get_connection_args("client")["ssl_context"]  # type: ignore[no-untyped-call]
        except OSError as err:
            raise ExternalError(f"Dask's certificate or key cannot be read: {err}.", _CERTIFICATE) from err
        if context is None:
            raise UsageError(f"The Dask scheduler at {settings.dask_address} needs a certificate.", _CERTIFICATE)


def dask_client(settings: Settings) -> Any:  # distributed is not typed
    """Connect to the scheduler, and wait until it has a worker; the caller closes the client.

    Raises:
        ExternalError: the scheduler does not answer, or no worker joins it.
    """
    check_dask(settings)
    from distributed import Client

    client: Any = None
    try:
        client = Client(  # type: ignore[no-untyped-call]
            settings.dask_address, timeout=REACH_SECONDS, set_as_default=False
        )
        client.wait_for_workers(1, timeout=REACH_SECONDS)
    except (OSError, TimeoutError) as err:
        if client is not None:
            client.close()
        raise ExternalError(
            f"No Dask scheduler with a worker answers at {redact(str(settings.dask_address))}.",
            "Start `dask scheduler` and `dask worker`, or correct SENTIFLOW_DASK_ADDRESS.",
        ) from without_secrets(err)
    return client


def threads_of(client: Any) -> int:
    """How many calls the cluster's workers take at a time."""
    return int(sum(client.nthreads().values()))


class DaskWorkers:
    """The cluster, from entering the context until leaving it; takes the place of ``Workers``.

    Each worker gets the scorer once, and chunks of texts as they come; what it computes is the same code in one
    thread, so that the scores are the same.

    Attributes:
        number: how many chunks are scored at a time, known in the context.
    """

    def __init__(self, settings: Settings, scorer: TextScorer, wanted: int | None) -> None:
        self._settings, self._scorer, self._wanted = settings, scorer, wanted

    def __enter__(self) -> "DaskWorkers":
        """Connect, and send the scorer to every worker; raises what ``dask_client`` raises."""
        self._client = dask_client(self._settings)
        there = threads_of(self._client)
        self.number = min(self._wanted or there, there)
        try:
            self._sent = self._client.scatter(BulkScorer(self._scorer), broadcast=True, hash=False)
        except Exception as err:
            self._client.close()
            raise ExternalError(
                f"The Dask workers cannot take the model: {first_line(err)}",
                "Install the same release of Sentiflow, with its packages, where they run.",
            ) from err
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def score(self, texts: Sequence[str]) -> Callable[[], Scores]:
        """Begin to score some texts; what is returned waits for it, and raises ExternalError if they are lost."""
        return partial(_result, self._client.submit(BulkScorer.score, self._sent, texts, pure=False))


def _result(future: Any) -> Scores:
    from distributed import CancelledError, KilledWorker

    try:
        scores: Scores = future.result()
    except (KilledWorker, CancelledError, OSError) as err:
        raise ExternalError(
            f"A part of the Dask cluster failed: {first_line(err)}",
            "What is finished is kept: run the same command again once its workers run again.",
        ) from err
    return scores


_WAITING = 2  # chunks a worker has before it: one to score, one to score next


def score_chunks(
    source: Input,
    version: Version,
    scorer: TextScorer,
    parts: Parts,
    pool: Workers | DaskWorkers | None,
    advance: Advance,
    schema: pa.Schema,
    sample: Sample | None = None,
) -> int:
    """Score every chunk that is not finished yet, and keep it in ``parts``, in the columns of the schema.

    Without a pool, this process scores. ``advance`` is called with the units of the input that are done; the
    sample gets each chunk and its scores. Gives the number of rows that were finished this time.
    """
    rows = 0
    with closing(_scored(_unfinished(source, parts, advance), scorer, pool)) as scored:
        for chunk, scores in scored:
            parts.add(chunk, to_table(chunk, scores, scorer.label_names, version, schema))
            if sample is not None:
                sample.add(chunk, scores)
            advance(chunk.units)
            rows += len(chunk)
    return rows


def _unfinished(source: Input, parts: Parts, advance: Advance) -> Iterator[Chunk]:
    count = 0
    for count, chunk in enumerate(source.chunks(), 1):  # noqa: B007 - of all of them, in the end
        if parts.holds(chunk):
            advance(chunk.units)
        else:
            yield chunk
    parts.end(count)


def _scored(
    chunks: Iterable[Chunk], scorer: TextScorer, pool: Workers | DaskWorkers | None
) -> Generator[tuple[Chunk, Scores]]:
    """Chunks with their scores, in order; so few are read ahead that memory stays flat."""
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
