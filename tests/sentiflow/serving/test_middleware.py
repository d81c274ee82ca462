"""What surrounds the paths, called as a server would call it, without one."""

import asyncio
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Scope

from sentiflow.serving.metrics import Metrics
from sentiflow.serving.middleware import ServiceEdge, origins
from sentiflow.store.records import CHAMPION, Version
from tests.sentiflow.serving.service import shown

POLICY = b"content-security-policy"
NONE = b"default-src 'none'; frame-ancestors 'none'"


def scope_of(path: str) -> Scope:
    asgi = {"version": "3.0", "spec_version": "2.4"}
    return {"type": "http", "asgi": asgi, "method": "GET", "path": path, "headers": [], "query_string": b""}


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class Asked:
    """An edge around a page with a policy of its own, a path without one, and two that end only when cancelled."""

    def __init__(self) -> None:
        app = FastAPI(openapi_url=None)
        self.waiting, self.metrics, self.sent = asyncio.Event(), Metrics(), list[Message]()

        @app.get("/page")
        async def page() -> Response:
            return Response("page", headers={POLICY.decode(): "own"})

        @app.get("/plain")
        async def plain() -> Response:
            return Response("plain")

        @app.get("/waits")
        async def waits() -> None:
            self.waiting.set()
            await asyncio.Event().wait()

        async def chunks() -> AsyncIterator[bytes]:
            await waits()
            yield b""

        @app.get("/begins")
        async def begins() -> Response:
            return StreamingResponse(chunks())

        self.edge = ServiceEdge(app, origins("127.0.0.1", []), None, [], self.metrics)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def ask(self, path: str) -> None:
        await self.edge(scope_of(path), nothing, self.send)

    async def ask_and_cancel(self, path: str) -> None:
        asking = asyncio.ensure_future(self.ask(path))
        await self.waiting.wait()
        asking.cancel()
        await asking

    def headers(self, name: bytes) -> list[bytes]:
        (start,) = (each for each in self.sent if each["type"] == "http.response.start")
        return [value for key, value in start["headers"] if key == name]


@pytest.mark.parametrize(("path", "policies"), [("/page", [b"own"]), ("/plain", [NONE]), ("/none", [NONE])])
def test_what_brings_no_policy_of_its_own_may_load_nothing(path: str, policies: list[bytes]) -> None:
    asked = Asked()
    asyncio.run(asked.ask(path))
    assert asked.headers(POLICY) == policies


def test_who_waits_when_the_service_ends_gets_503() -> None:
    asked = Asked()
    asyncio.run(asked.ask_and_cancel("/waits"))
    assert asked.sent[0]["status"] == 503 and asked.headers(b"retry-after") == [b"1"]
    assert b"The service is ending" in asked.sent[1]["body"]
    assert shown(asked.metrics)["sentiflow_http_requests_total path=/waits status=503"] == 1


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    asked = Asked()
    asyncio.run(asked.ask_and_cancel("/begins"))
    assert [each["status"] for each in asked.sent] == [200]
    assert shown(asked.metrics)["sentiflow_http_requests_total path=/begins status=200"] == 1


def test_figures_are_there_before_anything_has_happened() -> None:
    metrics = Metrics()
    values = shown(metrics)
    assert [values[f"sentiflow_champion_failures_total stage={stage}"] for stage in ("find", "load")] == [0, 0]
    assert values["process_resident_memory_bytes"] > 0
    metrics.seconds.labels("/predict")

    def bounds(name: str) -> list[float]:
        keys = [key for key in shown(metrics) if key.startswith(name)]
        return [float(key.split("le=")[1].split()[0]) for key in keys]

    decades = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    assert bounds("sentiflow_http_request_seconds_bucket") == [*decades, math.inf]
    assert bounds("sentiflow_batch_texts_bucket") == [*(2**power for power in range(10)), math.inf]


def test_texts_are_counted_by_the_names_of_the_labels_of_the_version_in_use() -> None:
    metrics = Metrics()

    def counts() -> dict[str, float]:
        begin = "sentiflow_predictions_total label="
        return {key.removeprefix(begin): value for key, value in shown(metrics).items() if key.startswith(begin)}

    metrics.show_model(Version("mine-sentiment", 1, CHAMPION), ("complaint", 'pra"i\\se'))
    assert counts() == {"complaint": 0, 'pra"i\\se': 0}
    metrics.count_labels(["complaint", 'pra"i\\se', "complaint"])
    assert counts() == {"complaint": 2, 'pra"i\\se': 1}
    assert 'label="pra\\"i\\\\se"} 1.0' in generate_latest(metrics.registry).decode()


def test_the_model_in_use_is_1_and_those_before_it_are_0() -> None:
    metrics = Metrics()
    one, two = (Version("sample-sentiment", number, CHAMPION) for number in (1, 2))

    def figures() -> tuple[float | None, ...]:
        """Of version 1, of version 2, and whether there is a champion."""
        names = (f"sentiflow_model_info name=sample-sentiment version={number}" for number in (1, 2))
        return tuple(map(shown(metrics).get, (*names, "sentiflow_ready")))

    metrics.show_model(one)
    metrics.show_model(one)
    assert figures() == (1, None, None)
    metrics.show_ready(lambda: True)
    assert figures() == (1, None, 1)
    metrics.show_model(two)
    assert figures() == (0, 1, 1)
    metrics.show_model(None)
    assert figures() == (0, 0, 0)
    metrics.show_model(one)
    assert figures() == (1, 0, 1)


def test_the_figures_of_workers_are_summed_and_files_that_are_empty_or_gone_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(file: str, values: dict[tuple[str, str], float]) -> None:
        written = MmapedDict(str(tmp_path / file))
        for (name, bound), value in values.items():
            labels = (["le"], [bound]) if bound else ([], [])
            key = mmap_key(name.split("_")[0], name, *labels, "help")
            written.write_value(key, value, 0.0)
        written.close()

    for process in (1, 2):
        write(f"counter_{process}.db", {("answers_total", ""): 2.0 + process})
        seconds = {("seconds_bucket", "1.0"): 2.0, ("seconds_bucket", "+Inf"): 1.0, ("seconds_sum", ""): 9.0}
        write(f"histogram_{process}.db", seconds)
    (tmp_path / "counter_3.db").touch()
    (tmp_path / "counter_4.db").symlink_to(tmp_path / "gone")
    write("gauge_livesum_0.db", {("waiting", ""): 7.0})  # no process has this number
    write(f"gauge_livesum_{os.getpid()}.db", {("waiting", ""): 1.0})
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert shown(Metrics()) == {
        "answers_total": 7,
        "waiting": 1,
        "seconds_bucket le=1.0": 4,
        "seconds_bucket le=+Inf": 6,  # with those below
        "seconds_count": 6,
        "seconds_sum": 18,
    }
