"""The registered model under MLflow's own server."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest

from sentiflow.scoring import TextScorer
from sentiflow.store.find import find_version, load_scorer
from tests.sentiflow.serving import service
from tests.servers import mlflow
from tests.world import Trained

pytestmark = pytest.mark.story

TEXTS = ["The acting was dull and wooden.", "The direction was touching and at times rewarding.", "", "zyzzyva 😀"]


@pytest.fixture(scope="module")
def address(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``mlflow models serve`` on the registered version, from a folder that is not the project's."""
    model = trained.result.model
    uri = f"models:/{model.name}/{model.version}"
    store = trained.world.variables["SENTIFLOW_TRACKING_URI"]
    where = {
        "MLFLOW_TRACKING_URI": store,
        "MLFLOW_REGISTRY_URI": store,
    }  # others may stand in the environment
    arguments = ["models", "serve", "--env-manager", "local", "--model-uri", uri]
    with mlflow(arguments, tmp_path_factory.mktemp("elsewhere"), "/ping", **where) as address:
        yield address


def scorer_of(trained: Trained) -> TextScorer:
    settings = trained.world.settings
    return load_scorer(settings, find_version(settings, trained.result.model.name, 1))


def test_mlflows_own_server_gives_the_scores_that_the_scorer_gives(address: str, trained: Trained) -> None:
    scores = scorer_of(trained).score(TEXTS)
    body = {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}}
    response = httpx.post(f"{address}/invocations", json=body, trust_env=False, timeout=60)
    assert response.status_code == 200, response.text
    predictions = response.json()["predictions"]
    assert [one["score"] for one in predictions] == pytest.approx(scores.tolist(), abs=1e-12)
    assert [one["label"] for one in predictions] == ["positive" if score > 0.5 else "negative" for score in scores]


def _request(number: int) -> tuple[str, bytes]:
    """A valid request: its type and body."""
    random_ = random.Random(number)
    words = ["good", "dull", "touching", '"quoted"', "a,b", "two\nlines", "\U0001f600", "zyzzyva", "007"]
    texts = [" ".join(random_.choices(words, k=random_.randint(1, 40))) for _ in range(random_.randint(1, 20))]
    table = pd.DataFrame({"id": range(len(texts)), "text": texts})
    table = table[random_.choice([["text"], ["id", "text"], ["text", "id"]])]
    forms = {
        "dataframe_split": table.to_dict("split"),
        "dataframe_records": table.to_dict("records"),
        "instances": random_.choice([texts, table.to_dict("records")]),
        "inputs": random_.choice([texts, table.to_dict("list")]),
    }
    form = random_.choice([*forms, "csv"])
    if form == "csv":
        return "text/csv", table.to_csv(index=False).encode()
    body = {form: forms[form], **random_.choice([{}, {"params": None}])}
    return random_.choice(["application/json", "application/json; charset=utf-8"]), json.dumps(body).encode()


def test_the_service_answers_200_requests_as_mlflows_own_server_does(
    address: str, trained: Trained, tmp_path: Path
) -> None:
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    with (
        service.running(world) as running,
        running.client() as ours,
        httpx.Client(trust_env=False, timeout=60) as theirs,
    ):
        for number in range(200):
            kind, body = _request(number)
            expected = theirs.post(f"{address}/invocations", content=body, headers={"Content-Type": kind})
            found = ours.post("/invocations", content=body, headers={"Content-Type": kind})
            assert (expected.status_code, found.status_code) == (200, 200), (
                f"{number}: {expected.text} {found.text}"
            )
            assert found.headers["content-type"] == expected.headers["content-type"]
            assert _rounded(found) == _rounded(expected), number
        for path in ("/ping", "/health", "/version"):
            expected, found = theirs.get(address + path), ours.get(path)
            assert (found.status_code, found.text) == (expected.status_code, expected.text)
            assert found.headers["content-type"] == expected.headers["content-type"]


def _rounded(answer: httpx.Response) -> object:
    """An answer's content; how many texts are scored together decides on the last bits of a score."""
    return json.loads(answer.text, parse_float=lambda figure: round(float(figure), 12))
