"""The queue and its thread, with a real scorer and without a server."""

import asyncio

import pytest
from fastapi import HTTPException

from sentiflow.scoring import TextScorer
from sentiflow.serving.batching import Batcher
from sentiflow.serving.champion import Loaded
from sentiflow.serving.metrics import Metrics
from sentiflow.store.find import Champion
from sentiflow.store.records import CHAMPION, Version
from tests.sentiflow.serving.service import shown


@pytest.fixture
def loaded(scorer: TextScorer) -> Loaded:
    return Loaded(Champion(Version("sample-sentiment", 1, CHAMPION), None, None), scorer)


def batches(metrics: Metrics) -> tuple[float, float]:
    """How many calls there were, and texts in all of them."""
    values = shown(metrics)
    return values["sentiflow_batch_texts_count"], values["sentiflow_batch_texts_sum"]


def test_what_waits_is_scored_in_one_call_and_everybody_gets_their_own(loaded: Loaded) -> None:
    metrics = Metrics()
    batcher = Batcher(100, metrics)
    asked = [["dull"], ["touching", "wooden"], ["rewarding"]]

    async def together() -> list[list[float]]:
        answers = [asyncio.ensure_future(batcher.score(loaded, texts)) for texts in asked]
        await asyncio.sleep(0)  # all are queued
        batcher.start()
        return await asyncio.gather(*answers)

    scores = asyncio.run(together())
    batcher.close()
    assert batches(metrics) == (1, 4)
    expected = [loaded.scorer.score(texts).tolist() for texts in asked]
    assert [len(one) for one in scores] == [1, 2, 1]
    assert sum(scores, []) == pytest.approx(sum(expected, []), abs=1e-12)


@pytest.mark.parametrize(
    ("text", "each", "requests", "calls"),
    [
        pytest.param("dull", 100, 5, 3, id="256 texts"),
        pytest.param("dull " * 40_000, 1, 5, 3, id="500,000 characters"),
        pytest.param("dull", 1, 256, 1, id="just 256"),
        pytest.param("dull", 1, 257, 2, id="257"),
        pytest.param("a" * 250_000, 1, 2, 1, id="just 500,000"),
        pytest.param("a" * 166_667, 1, 3, 2, id="500,001"),
    ],
)
def test_a_call_takes_no_more_than_the_rest_can_wait_for(
    loaded: Loaded, text: str, each: int, requests: int, calls: int
) -> None:
    """Of requests with 100 texts, or 200,000 characters, two fit into a call."""
    metrics = Metrics()
    batcher = Batcher(1_000, metrics)

    async def all_at_once() -> None:
        answers = [asyncio.ensure_future(batcher.score(loaded, [text] * each)) for _ in range(requests)]
        await asyncio.sleep(0)
        batcher.start()
        await asyncio.gather(*answers)

    asyncio.run(all_at_once())
    batcher.close()
    assert batches(metrics) == (calls, each * requests)


def test_champions_are_never_mixed_in_a_call(loaded: Loaded, scorer: TextScorer) -> None:
    metrics = Metrics()
    batcher = Batcher(100, metrics)
    next_one = Loaded(Champion(Version("sample-sentiment", 2, CHAMPION), None, None), scorer)

    async def around_a_promotion() -> None:
        answers = [asyncio.ensure_future(batcher.score(who, ["dull"])) for who in (loaded, loaded, next_one)]
        await asyncio.sleep(0)
        batcher.start()
        await asyncio.gather(*answers)

    asyncio.run(around_a_promotion())
    batcher.close()
    assert batches(metrics) == (2, 3)


def test_a_queue_takes_what_it_was_given_and_no_text_more(loaded: Loaded) -> None:
    metrics = Metrics()
    batcher = Batcher(3, metrics)

    def waiting() -> float:
        return shown(metrics)["sentiflow_queue_texts"]

    async def fill() -> None:
        first = asyncio.ensure_future(batcher.score(loaded, ["a", "b"]))
        await asyncio.sleep(0)
        assert waiting() == 2
        with pytest.raises(HTTPException) as refused:
            await batcher.score(loaded, ["c", "d"])
        assert refused.value.status_code == 429
        last = asyncio.ensure_future(batcher.score(loaded, ["c"]))
        await asyncio.sleep(0)
        assert waiting() == 3
        batcher.start()
        assert len(await first) == 2 and len(await last) == 1
        assert waiting() == 0
        assert len(await batcher.score(loaded, ["c", "d", "e"])) == 3  # the places are free again

    asyncio.run(fill())
    batcher.close()


def test_a_failure_reaches_who_asked_and_the_thread_goes_on(
    loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    batcher = Batcher(10, Metrics())
    batcher.start()

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    async def both() -> list[float]:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await batcher.alone(loaded, "text", fail)
        return await batcher.score(loaded, ["dull"])

    assert len(asyncio.run(both())) == 1
    batcher.close()
    assert "failed" in caplog.text


def test_long_readings_let_predictions_pass_and_have_a_queue_of_their_own(loaded: Loaded) -> None:
    metrics = Metrics()
    batcher = Batcher(1_000, metrics)
    scored_before: list[float] = []  # batches that the thread had taken when it came to each reading

    def read() -> None:
        scored_before.append(batches(metrics)[0])

    async def together() -> int:
        alone = [asyncio.ensure_future(batcher.alone(loaded, "dull", read)) for _ in range(33)]
        score = asyncio.ensure_future(batcher.score(loaded, ["dull"]))
        await asyncio.sleep(0)  # all are queued, or refused
        batcher.start()
        done = await asyncio.gather(*alone, return_exceptions=True)
        await score
        return sum(isinstance(one, HTTPException) for one in done)

    refused = asyncio.run(together())
    batcher.close()
    assert refused == 1
    assert len(scored_before) == 32
    assert set(scored_before[1:]) == {1}  # in turns: at most one reading goes before the prediction
