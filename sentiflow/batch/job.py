"""One scoring job, from the settings to the finished output: a sample for monitoring, the processes that score."""

import logging
import os
import pickle
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import sentiflow
from sentiflow.batch.dask import DaskWorkers
from sentiflow.batch.worker import BulkScorer, Scores
from sentiflow.batch.writers import Totals, check_output, output_lock, output_schema, to_table, write_output
from sentiflow.console import Progress, no_progress
from sentiflow.data.inputs import not_read, open_input
from sentiflow.data.rows import Chunk, Input, changed, count_reasons, hints_for, kind_of, match
from sentiflow.data.table import TableOptions
from sentiflow.errors import ExternalError, UsageError
from sentiflow.monitoring.log import SCORED, Entry, TextLog, configured_log
from sentiflow.names import model_name
from sentiflow.scoring import TextScorer, cores
from sentiflow.settings import Settings
from sentiflow.store.find import find_version, load_scorer, need_neutral
from sentiflow.store.records import BASE_MODEL, Version

if TYPE_CHECKING:
    from sentiflow.batch.labels import Evaluation

logger = logging.getLogger(__name__)

_WORTH_WORKERS = 8_000_000  # bytes of text that one process scores while others would only be starting


@dataclass(frozen=True)
class Request:
    """What to score, a table or a folder of text files, with what, and where to."""

    source: Path
    output: Path  # the file to write; its ending is the format, .csv, .jsonl or .parquet
    text_column: str = "text"
    with_text: bool = False
    keep: tuple[str, ...] = ()  # columns to copy
    dataset: str | None = None  # whose model; by default imdb's, or the only one that there is
    version: int | None = None  # its number; by default the champion, else the best by validation
    workers: int | None = None  # processes that score; by default as many as are worth it
    labelled: TableOptions | None = None  # of a labelled table: its column of labels, and what they mean
    sheet: str = ""  # of workbooks; by default the first
    with_neutral: bool = False  # call unsure texts so


@dataclass(frozen=True)
class Scored:
    """What came of it."""

    output: Path
    version: Version
    totals: Totals
    seconds: float
    evaluation: "Evaluation | None" = None  # of a labelled table

    @property
    def summary(self) -> str:
        accuracy = "" if self.evaluation is None else f". {self.evaluation.lines[0]}"
        return f"{self.lines[0]}{accuracy}: {self.output}"

    @property
    def lines(self) -> list[str]:
        """The counts, the accuracy if there are labels, speed, version, output, and rejects if there are any."""
        totals, version = self.totals, self.version
        rejected, speed = totals.rows - totals.scored, totals.rows / self.seconds
        lines = [
            f"{totals.scored:,} scored, {rejected:,} rejected, {totals.rows:,} rows in all{totals.note}",
            *(self.evaluation.lines if self.evaluation else []),
            f"{speed:,.0f} reviews a second: {totals.rows:,} in {self.seconds:.1f} s",
            f"Scored by {version} ({version.why})",
            f"Scores:  {self.output}",
        ]
        if totals.rejects:
            lines.append(f"Rejects: {totals.rejects} ({count_reasons(totals.reasons)})")
        return lines


def check_request(request: Request) -> tuple[Input, pa.Schema]:
    """The input with its columns chosen, and the columns of the output."""
    source = open_input(request.source, request.sheet)
    keep = [one for name in request.keep for one in ([name] if match(name, source.names) else name.split(","))]
    label = request.labelled.label_column if request.labelled else ""
    for told in (*source.select_usual(request.text_column, keep, label), *not_read(source.unread)):
        logger.warning("%s", told)
    check_output(request.output.resolve(), request.source)
    return source, output_schema(source, request.with_text, source.schema.names[0] if label else "")


def score_input(request: Request, settings: Settings, progress: Progress = no_progress) -> Scored:
    """Score an input.

    Written: the output, and its rejects beside it if there are any; each by one rename, at the end. A sample of
    the texts goes to the text log, if there is one.
    """
    began = time.monotonic()
    output = request.output.resolve()  # a link stays one, and what it leads to is written
    source, schema = check_request(request)
    with output_lock(output):
        name = None if request.dataset is None else model_name(request.dataset)
        version = find_version(settings, name, request.version)
        scorer = load_scorer(settings, version)
        if request.with_neutral:
            need_neutral(scorer, str(version))
        log = configured_log(settings) if version != BASE_MODEL else None  # nothing is checked for drift from it
        sample, before, evaluator = Sample(), source.state(), None
        if request.labelled is not None:
            from sentiflow.batch.labels import Evaluator, as_trained, learnt_texts  # SciPy: only for its intervals

            labelled = as_trained(request.labelled, version, settings)
            learnt = learnt_texts(version, settings)
            evaluator = Evaluator(source.schema.names[0], labelled, scorer.label_names, learnt)
        pool = _pool(source, scorer, request.workers, settings)

        def tables() -> Generator[tuple[Chunk, pa.Table]]:
            usable, rejects = False, Counter[str]()
            with progress("Scoring", source.total) as advance, closing(chunks):
                for chunk, scores in chunks:
                    usable = usable or bool(chunk.rows)
                    rejects.update(kind_of(reject.reason) for reject in chunk.rejects)
                    if evaluator is not None:
                        evaluator.add(chunk, scores)
                        named = schema.names[-len(source.schema) :]
                        chunk = replace(chunk, columns=chunk.columns.rename_columns(named))
                    labels = [scorer.label_of(each, with_neutral=request.with_neutral) for each in scores.tolist()]
                    yield chunk, to_table(chunk, scores, labels, version, schema)
                    if log is not None:
                        sample.add(chunk, scores)
                    advance(chunk.units)
            if not usable:
                why = f"No row of {source.path} can be scored: {count_reasons(rejects)}."
                hints = [*hints_for(rejects, source.path), "There is nothing to score."]
                raise UsageError(why if rejects else f"{source.path} holds no rows.", "\n".join(hints))
            if source.state() != before:
                raise changed(source.path)
            if evaluator is not None:
                evaluator.result()  # no usable label: an error before there is an output

        blank = float(scorer.score([""])[0])
        chunks = score_chunks(source.chunks(), scorer, pool)
        with closing(tables()) as scored:
            totals = write_output(scored, output, schema, blank)
        if log is not None:
            _log(sample, version, log)
    evaluation = None if evaluator is None else evaluator.result()
    return Scored(output, version, totals, time.monotonic() - began, evaluation)


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
        lots = self._random.random(len(chunk.rows)).tolist()
        below = self._kept[-1][0] if len(self._kept) == self._most else 1.0
        rows = zip(lots, chunk.rows, chunk.texts, scores.tolist(), strict=True)
        self._kept = sorted([*self._kept, *(row for row in rows if row[0] < below)])[: self._most]

    def rows(self) -> list[tuple[int, str, float]]:
        """Row number, text and score of the sample, in the order of the input."""
        return sorted(row[1:] for row in self._kept)


def _log(sample: Sample, version: Version, log: TextLog) -> None:
    """Write the sampled texts to the log for monitoring; a log that cannot be written fails no scoring."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        log.append([Entry(at, SCORED, version.name, version.number, each[2], each[1]) for each in sample.rows()])
    except OSError as err:
        logger.warning("The scored texts are not logged for monitoring: %s.", err)


_ROOT = str(Path(sentiflow.__file__).parents[1])
# Each process is one core's: BLAS starts no threads there, which the scorer would let wait.
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
            worker.process.kill()
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
            self.process = subprocess.Popen(
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
            code = self.process.wait()
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            hint = "Run the same command again. If memory is short, use fewer --workers."
            raise ExternalError(f"A scoring process ended {how}.", hint) from err
        return scores

    def close(self) -> None:
        self.process.wait()
        self._connection.close()


def _pool(
    source: Input, scorer: TextScorer, wanted: int | None, settings: Settings
) -> Workers | DaskWorkers | None:
    """The cluster of the settings, else processes of this machine; None where starting them takes longer."""
    if settings.task_runner == "dask":
        return DaskWorkers(settings, scorer, wanted)
    number = wanted or (cores() if source.size >= _WORTH_WORKERS else 1)
    return Workers(scorer, number) if number > 1 else None


_WAITING = 2  # chunks a worker has before it: one to score, one to score next


def score_chunks(
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
