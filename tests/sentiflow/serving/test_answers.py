"""What each path says, over real HTTP, from the process that a user starts."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from sentiflow.scoring import TextScorer, tokenize
from sentiflow.serving.app import build
from sentiflow.serving.batching import Batcher, Keeper
from sentiflow.serving.champion import Watcher
from sentiflow.serving.metrics import Metrics
from sentiflow.serving.schemas import BodyParser
from tests.sentiflow.serving.service import TEXTS
from tests.world import Trained


def figures(http: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(http.get("/metrics").text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_one_text_gets_the_score_that_the_versions_files_give(http: httpx.Client, scorer: TextScorer) -> None:
    for text, score in zip(TEXTS, scorer.score(TEXTS), strict=True):
        response = http.post("/predict", json={"text": text})
        assert (response.status_code, response.headers["x-model-version"]) == (200, "1")
        (prediction,) = response.json()["predictions"]
        assert prediction["score"] == pytest.approx(score, abs=1e-12)
        assert prediction["label"] == ("positive" if score > 0.5 else "negative")
        assert response.json()["model"] == {"name": "sample-sentiment", "version": 1}


def test_a_text_of_which_no_word_is_known_is_told_as_the_command_tells_it(
    http: httpx.Client, scorer: TextScorer, trained: Trained
) -> None:
    texts = ["asdf qwer", "!?", *TEXTS, "asdf " + scorer.vocabulary.words[-1]]
    expected = [any(scorer.vocabulary.id_of(word) for word in tokenize(text)) for text in texts]
    assert expected[:2] == [False, False] and expected[-1]
    answers = http.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [each["known"] for each in answers] == expected
    told = json.loads(trained.world.run("predict", "--json", "--dataset", "sample", *texts[1:]).stdout)
    assert [each["known"] for each in told["answers"]] == expected[1:]


def test_many_texts_are_answered_in_their_order(http: httpx.Client, scorer: TextScorer) -> None:
    words = scorer.vocabulary.words
    texts = [" ".join(words[i : i + 7]) for i in range(90)]
    predictions = http.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [one["score"] for one in predictions] == pytest.approx(scorer.score(texts).tolist(), abs=1e-12)
    assert len({one["score"] for one in predictions}) > 30


def test_an_explanation_is_the_scorers_reading_and_adds_up_to_the_score(
    http: httpx.Client, scorer: TextScorer
) -> None:
    for text in TEXTS:
        told = http.post("/explain", json={"text": text}).json()
        assert told["score"] == pytest.approx(scorer.score([text])[0], abs=1e-9)
        assert told["start"] + sum(word["change"] for word in told["words"]) == pytest.approx(told["score"])
        expected = [(word.text, word.status) for word in scorer.explain(text).words]
        assert [(word["text"], word["status"]) for word in told["words"]] == expected
    assert [word["status"] for word in told["words"]][-2:] == ["unknown", "unknown"]


def test_the_model_is_told_with_the_run_and_accuracy_of_its_training(http: httpx.Client, trained: Trained) -> None:
    told = http.get("/model").json()
    result = trained.result
    assert (told["name"], told["version"], told["run_id"]) == (result.model.name, 1, result.run_id)
    assert told["accuracy"] == pytest.approx(result.measured.accuracy, abs=1e-6)


def test_health_and_readiness(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    ready = http.get("/readyz")
    expected = {"ready": True, "model": {"name": "sample-sentiment", "version": 1}, "problem": ""}
    assert (ready.status_code, ready.json()) == (200, expected)


def test_every_answer_fits_the_schema_that_the_openapi_page_shows(http: httpx.Client) -> None:
    api = http.get("/openapi.json").json()
    asked = {
        ("/predict", 200): http.post("/predict", json={"texts": TEXTS}),
        ("/predict", 422): http.post("/predict", json={"texts": 5}),
        ("/explain", 200): http.post("/explain", json={"text": TEXTS[0]}),
        ("/model", 200): http.get("/model"),
        ("/healthz", 200): http.get("/healthz"),
        ("/readyz", 200): http.get("/readyz"),
    }
    for (path, status), response in asked.items():
        assert response.status_code == status, path
        (operation,) = api["paths"][path].values()
        schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        Draft202012Validator(schema | {"components": api["components"]}).validate(response.json())
    for shown, name in (("Prediction", "score"), ("Explanation", "score"), ("Explanation", "start")):
        field = api["components"]["schemas"][shown]["properties"][name]
        assert (field["minimum"], field["maximum"]) == (0, 1)
    refusals = {"200", "408", "413", "422", "429", "503"}
    assert set(api["paths"]["/explain"]["post"]["responses"]) == refusals
    assert set(api["paths"]["/predict"]["post"]["responses"]) == refusals | {"409"}  # neutral, not learnt
    body = api["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert Draft202012Validator(body).is_valid({"texts": ["a", "b"]})
    for wrong in (
        {},
        {"text": "a", "texts": ["a"]},
        {"texts": ["a"] * 257},
        {"text": "a" * 100_001},
        {"texts": ["a", "\f"]},
    ):
        assert not Draft202012Validator(body).is_valid(wrong)
        assert http.post("/predict", json=wrong).status_code == 422


async def asked(app: FastAPI, method: str, path: str, **body: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.request(method, path, **body)


def test_a_bug_is_answered_with_500_and_one_sentence(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON, like every other answer, and without anything of the bug."""
    metrics = Metrics()
    watcher = Watcher(trained.world.settings, "sample-sentiment", metrics)
    app = build(
        watcher, Batcher(9, metrics), Keeper(None, metrics), metrics, BodyParser(100_000, 9), max_body=4_000_000
    )
    monkeypatch.setattr(Watcher, "loaded", property(lambda _: 1 / 0))
    response = asyncio.run(asked(app, "POST", "/predict", json={"text": "dull"}))
    assert (response.status_code, response.json()) == (500, {"detail": "The service failed; see its log."})


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("POST", "/predict/", 404, None),
        ("GET", "/predict", 405, "POST"),
        ("GET", "/explain?text=good", 405, "POST"),
        ("HEAD", "/model", 200, None),
    ],
)
def test_methods_and_paths(http: httpx.Client, method: str, path: str, status: int, allow: str | None) -> None:
    response = http.request(method, path)
    assert (response.status_code, response.headers.get("allow")) == (status, allow)
    if status == 404:
        assert response.json() == {"detail": "Not found; see /docs."}
    elif status >= 400:
        assert isinstance(response.json()["detail"], str)
    else:
        assert response.content == b""
    if method == "HEAD":
        assert response.headers["content-length"] == str(len(http.get(path).content))
    counted = {dict(labels)["path"] for name, labels in figures(http) if name == "sentiflow_http_requests_total"}
    assert "/nothing" not in counted  # or anybody could make as many figures as they like


def test_metrics_count_requests_texts_and_batches(http: httpx.Client) -> None:
    before = figures(http)
    http.post("/predict", json={"texts": ["good", "bad", "ugly"]})
    http.post("/predict", json={})
    after = figures(http)

    def added(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0)

    assert added("sentiflow_http_requests_total", path="/predict", status="200") == 1
    assert added("sentiflow_http_requests_total", path="/predict", status="422") == 1
    assert added("sentiflow_http_request_seconds_count", path="/predict") == 2
    assert added("sentiflow_texts_scored_total") == 3
    assert added("sentiflow_batch_texts_sum") == 3
    assert added("sentiflow_batch_texts_count") == 1
    sizes = {dict(labels)["le"] for name, labels in after if name == "sentiflow_batch_texts_bucket"}
    assert sizes == {*(f"{2**k}.0" for k in range(10)), "+Inf"}
    assert after["sentiflow_model_info", (("name", "sample-sentiment"), ("version", "1"))] == 1
    assert after["sentiflow_champion_loads_total", ()] == after["sentiflow_ready", ()] == 1
    assert after["sentiflow_champion_failures_total", (("stage", "load"),)] == 0
    assert 1e7 < after["process_resident_memory_bytes", ()] < 4e8


@pytest.mark.parametrize(
    ("path", "kind", "holds"),
    [
        ("/", "text/html", "<title>Sentiflow: classify a text</title>"),
        ("/docs", "text/html", "<title>Sentiflow: API docs</title>"),
        ("/docs/swagger-ui.css", "text/css", ".swagger-ui{"),
    ],
)
def test_pages_name_no_other_site_and_carry_the_headers(
    http: httpx.Client, path: str, kind: str, holds: str
) -> None:
    response = http.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{kind}; charset=utf-8"
    assert holds in response.text
    assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", response.text)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert ("script-src 'self' 'sha256-" in policy) == (kind == "text/html")  # its inline script runs
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
