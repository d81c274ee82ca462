"""Read, score and keep, chunk by chunk."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from sentiment.batch.parts import Parts
from sentiment.batch.results import output_schema, to_table
from sentiment.batch.source import Chunk, Source
from sentiment.batch.words import BulkScorer
from sentiment.batch.workers import Scores, Workers
from sentiment.progress import Advance
from sentiment.scoring import TextScorer

See = Callable[[Chunk, Scores], None]

_WORTH_WORKERS = 8_000_000  # bytes of text that one process scores while others would only be starting
_WAITING = 2  # chunks a worker has before it: one to score, one to score next


@dataclass(frozen=True)
class Model:
    """What scores, and under which name and version."""

    name: str
    version: int
    scorer: TextScorer


class Waiting(Protocol):
    """Scores that somebody is to give."""

    def result(self) -> Scores:
        """Wait for them."""


class Pool(Protocol):
    """Whoever scores chunks side by side, in a context: the processes of ``Workers``, or other machines.

    Attributes:
        number: how many chunks are scored at a time.
    """

    number: int

    def __enter__(self) -> "Pool":
        """Begin."""

    def __exit__(self, *_error: object) -> None:
        """Let go of whatever scores."""

    def score(self, texts: Sequence[str]) -> Waiting:
        """Score some texts, without waiting for it."""


def nobody_sees(_chunk: Chunk, _scores: Scores) -> None:
    """Takes no notice of what is scored."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def score_chunks(
    source: Source,
    model: Model,
    parts: Parts,
    workers: int | None,
    advance: Advance,
    see: See = nobody_sees,
    pool: Pool | None = None,
) -> int:
    """Score every chunk that is not finished yet, and keep it.

    Args:
        source: the input.
        model: what scores.
        parts: what is finished; grows.
        workers: processes; by default one a core, or none where starting them takes longer than the work.
        advance: told the units of the input that are done.
        see: shown each chunk and its scores.
        pool: scores in place of such processes.

    Returns:
        The rows that were finished this time.

    Raises:
        WorldError: a scoring process ended, or the input is damaged.
    """
    schema, rows = output_schema(source), 0
    if pool is None:
        workers = workers or (cores() if source.size >= _WORTH_WORKERS else 1)
        pool = Workers(model.scorer, workers) if workers > 1 else None
    with closing(_scored(_unfinished(source, parts, advance), model.scorer, pool)) as scored:
        for chunk, scores in scored:
            parts.add(chunk.number, to_table(chunk, scores, model.name, model.version, schema), chunk.rejects)
            see(chunk, scores)
            advance(chunk.units)
            rows += len(chunk)
    return rows


def _unfinished(source: Source, parts: Parts, advance: Advance) -> Iterator[Chunk]:
    for chunk in source.chunks():
        if parts.rows.get(chunk.number) == len(chunk):
            advance(chunk.units)
        else:
            yield chunk


def _scored(chunks: Iterable[Chunk], scorer: TextScorer, pool: Pool | None) -> Generator[tuple[Chunk, Scores]]:
    """Chunks with their scores, in order; so few are read ahead that memory stays flat."""
    if pool is None:
        bulk = BulkScorer(scorer)
        for chunk in chunks:
            yield chunk, bulk.score(chunk.texts)
        return
    waiting: deque[tuple[Chunk, Waiting]] = deque()
    with pool:
        for chunk in chunks:
            waiting.append((chunk, pool.score(chunk.texts)))
            if len(waiting) >= _WAITING * pool.number:
                first, scores = waiting.popleft()
                yield first, scores.result()
        for first, scores in waiting:
            yield first, scores.result()
