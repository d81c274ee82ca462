"""Too much of anything, and too slow."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from starlette.types import Message

from sentiflow.serving import app
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running, exchange
from tests.world import Trained

BODY = 4_000_000


def body_of(size: int) -> bytes:
    """A valid body of so many bytes: white space around the rest is JSON, too."""
    rest = b'{"text": "a good film"}'
    return rest + b" " * (size - len(rest))


def chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 500_000):
        yield body[start : start + 500_000]


def test_a_body_of_the_limit_is_answered_and_one_byte_more_gets_413(http: httpx.Client) -> None:
    assert http.post("/predict", content=body_of(BODY)).status_code == 200
    assert http.post("/predict", content=body_of(BODY + 1)).status_code == 413


def test_a_chunked_body_without_a_length_has_the_same_limit(http: httpx.Client) -> None:
    assert http.post("/predict", content=chunks(body_of(BODY))).status_code == 200
    assert http.post("/predict", content=chunks(body_of(BODY + 1))).status_code == 413


def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(served: Running) -> None:
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n"
    for length in ("1000000000000", "9" * 19):
        assert exchange(served, head.format(length, "").encode()).startswith(b"HTTP/1.1 413 ")
    told = exchange(served, head.format(BODY + 1, "Expect: 100-continue\r\n").encode())
    assert told.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_to_its_end_gets_408_and_is_read_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However it trickles."""
    monkeypatch.setattr(app, "_BODY_SECONDS", 0.2)

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    service = FastAPI()
    service.state.max_body = BODY
    with pytest.raises(HTTPException) as refused:
        asyncio.run(app._body(Request({"type": "http", "headers": [], "app": service}, receive)))
    assert (refused.value.status_code, refused.value.headers) == (408, {"Connection": "close"})


@pytest.fixture(scope="module")
def tight(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose queue holds two texts."""
    world, client = service.copied(trained, tmp_path_factory.mktemp("tight"))
    service.promote(client, 1)
    with service.running(world, SENTIFLOW_SERVE_QUEUE="2") as running:
        yield running


def test_a_full_queue_gets_429_and_the_rest_is_answered(tight: Running) -> None:
    """More work at once than one thread and two places can hold; nobody may get anything but 200 or 429."""
    slow = {"text": "a b c d e f g h i j " * 5_000}

    def ask(_i: int) -> httpx.Response:
        with tight.client() as client:
            return client.post("/explain", json=slow)

    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(ask, range(48)))
    statuses = [response.status_code for response in responses]
    assert set(statuses) == {200, 429}
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    with tight.client() as client:
        assert client.post("/predict", json={"text": "after the storm"}).status_code == 200


def test_more_texts_than_the_queue_holds_are_not_told_to_come_back(tight: Running) -> None:
    with tight.client() as client:
        refused = client.post("/predict", json={"texts": ["a", "b", "c"]})
    assert refused.status_code == 422
    assert "at most 2 items" in refused.json()["detail"][0]["msg"]
