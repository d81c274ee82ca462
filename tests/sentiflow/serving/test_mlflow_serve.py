"""The registered model under MLflow's own server."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest

from tests.sentiflow.serving import service
from tests.servers import mlflow
from tests.world import Trained

pytestmark = pytest.mark.story


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
