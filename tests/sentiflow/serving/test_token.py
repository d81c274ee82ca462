"""A service that asks for a token."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests import browsers
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running
from tests.world import Trained, World

TOKEN = "s3cret-T0ken=="
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN]
OPEN = ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/ping", "/health")


@pytest.fixture(scope="module")
def guarded(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    world, client = service.copied(trained, tmp_path_factory.mktemp("guarded"))
    service.promote(client, 1)
    with service.running(world, SENTIFLOW_SERVE_TOKEN=TOKEN) as running:
        yield running


def test_a_hundred_requests_without_the_token_learn_nothing(guarded: Running) -> None:
    answers = set()
    with guarded.client(headers=RIGHT) as http:
        scored = service.figure(http, "sentiflow_texts_scored_total")
    with guarded.client() as http:
        for number in range(100):
            headers = {"Authorization": WRONG[number % len(WRONG)]} if number % 2 else {}
            for method, path in (
                ("POST", "/predict"), ("POST", "/explain"), ("POST", "/invocations"), ("GET", "/model"),
                ("GET", "/metrics"), ("GET", "/version"), ("GET", "/nowhere"), ("OPTIONS", "/predict"),
            ):  # fmt: skip
                answer = http.request(method, path, headers=headers, json={"text": "good"})
                answers.add((answer.status_code, answer.headers["www-authenticate"], answer.text))
                assert "x-model-version" not in answer.headers
        assert len(answers) == 1 and answers.pop()[:2] == (401, "Bearer")
    with guarded.client(headers=RIGHT) as http:
        assert service.figure(http, "sentiflow_texts_scored_total") == scored


def test_with_the_token_it_answers_and_health_and_pages_ask_for_none(guarded: Running) -> None:
    with guarded.client() as http:
        assert http.post("/predict", json={"text": "good"}, headers=RIGHT).status_code == 200
        lower = {"authorization": f"bearer {TOKEN}"}
        assert http.post("/invocations", json={"inputs": ["good"]}, headers=lower).status_code == 200
        assert "sentiflow_texts_scored_total 2.0" in http.get("/metrics", headers=RIGHT).text
        assert [http.get(path).status_code for path in OPEN] == [200] * len(OPEN)
        schema = http.get("/openapi.json").json()
        assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        asked = {path: next(iter(each.values()))["security"] for path, each in schema["paths"].items()}
        assert (asked["/predict"], asked["/ping"]) == ([{"token": []}], [])


def test_metrics_that_are_open_ask_for_no_token(world: World) -> None:
    more = {"SENTIFLOW_SERVE_TOKEN": TOKEN, "SENTIFLOW_SERVE_METRICS_OPEN": "true"}
    with service.running(world, **more) as running, running.client() as http:
        assert [http.get("/model", headers=each).status_code for each in ({}, RIGHT)] == [401, 503]
        assert http.get("/metrics").status_code == 200


def test_a_token_that_is_none_is_told_and_nothing_is_served(world: World) -> None:
    done = world.run("serve", "--port", "0", SENTIFLOW_SERVE_TOKEN="with a space")
    assert (done.returncode, "SENTIFLOW_SERVE_TOKEN: expected letters" in done.stderr) == (2, True), done.stderr
    assert "with a space" not in done.stderr


@pytest.mark.story
def test_the_page_asks_for_the_token_and_then_answers(guarded: Running) -> None:
    with browsers.chromium() as browser:
        page = browser.new_page(base_url=guarded.address)
        page.goto("/")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("alert")).to_have_text("The service does not take this token.")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("#verdict")).to_contain_text("score")
        expect(page.locator("#model")).to_contain_text("sample-sentiment v1")
        page.reload()
        expect(page.locator("#model")).to_contain_text("sample-sentiment v1")
