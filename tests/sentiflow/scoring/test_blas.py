"""BLAS works in one thread wherever the scorer does, and in as many as before afterwards."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from threadpoolctl import OpenBLASController, threadpool_info, threadpool_limits

from sentiflow.batch.job import score_chunks
from sentiflow.batch.worker import BulkScorer
from sentiflow.data.rows import Chunk
from sentiflow.promotion.candidate import cost_of
from sentiflow.scoring import Network, TextScorer, Vocabulary
from sentiflow.scoring.blas import ONE_BLAS_THREAD
from sentiflow.serving.batching import Batcher
from sentiflow.serving.champion import Loaded
from sentiflow.serving.metrics import Metrics
from sentiflow.store.find import Champion
from sentiflow.store.records import BASE_MODEL
from tests.sentiflow.scoring.test_forward import WORDS, random_ids, random_weights

SCORER = TextScorer(random_weights(), Vocabulary([f"w{k}" for k in range(WORDS - 4)]), 9)
TEXTS = ["w1 w2", "w3", ""] * 8  # more than those that step together


def threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


@contextmanager
def three_threads() -> Iterator[None]:
    """BLAS with three, set by no thread that would have to restore it."""
    before = threadpool_limits(3, user_api="blas")
    OpenBLASController.clear_controlling_thread()
    assert threads() == {3}
    try:
        yield
        assert threads() == {3}
    finally:
        before.restore_original_limits()
        OpenBLASController.clear_controlling_thread()


def watch(forward: ModuleType, patch: pytest.MonkeyPatch) -> list[set[int]]:
    """BLAS's threads at each reading of texts by a scoring package."""
    seen: list[set[int]] = []

    def watched(step: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: (seen.append(threads()), step(*given, **named))[1]

    for owner, name in [(forward, "_read"), (forward, "_read_together"), (forward._Reader, "read_steps")]:
        patch.setattr(owner, name, watched(getattr(owner, name)))
    return seen


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[set[int]]]:
    with three_threads():
        yield (seen := watch(sys.modules["sentiflow.scoring.forward"], monkeypatch))
        assert seen and all(each == {1} for each in seen), seen


async def served() -> float:
    batcher, loaded = Batcher(100, Metrics()), Loaded(Champion(BASE_MODEL, None, None), SCORER)
    batcher.start()
    scores = await batcher.score(loaded, TEXTS)
    batcher.close()
    return float(scores[0])


@pytest.mark.parametrize(
    "score",
    [
        lambda: Network(random_weights()).score(random_ids(2_000, 0), threads=2),  # as the evaluation does
        lambda: SCORER.score(["w1 w2"]),
        lambda: SCORER.explain("w1 w2"),
        lambda: list(score_chunks([Chunk([], [], TEXTS, pa.table({}), [], 0)], SCORER, None)),
        lambda: BulkScorer(SCORER).score(TEXTS),
        lambda: cost_of(Path(__file__).parent, SCORER),  # the latency of the gate
        lambda: asyncio.run(served()),
    ],
    ids=["evaluate", "predict", "explain", "score", "worker", "latency", "serve"],
)
def test_blas_has_one_thread_while_texts_are_read(score: Callable[[], object], seen: list[set[int]]) -> None:
    score()


def test_of_threads_that_score_at_once_the_last_one_restores_it() -> None:
    """Red if the first that ends gave BLAS its threads back, or the second took one thread for what was before."""
    both, first_gone = threading.Barrier(2, timeout=20), threading.Event()

    def first() -> None:
        with ONE_BLAS_THREAD:
            both.wait()
        first_gone.set()

    def second() -> None:
        with ONE_BLAS_THREAD:
            both.wait()
            first_gone.wait(20)
            told.append(threads())

    told: list[set[int]] = []
    with three_threads(), ThreadPoolExecutor(2) as pool:
        for work in (pool.submit(first), pool.submit(second)):
            work.result()
        told.append(threads())
    assert told == [{1}, {3}]
