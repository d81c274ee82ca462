"""The registered model under MLflow's own server."""

from collections.abc import Iterator

import httpx
import pytest

from sentiflow.scoring import TextScorer
from sentiflow.tracking.versions import find_version, load_scorer
from tests.servers import mlflow
from tests.world import Trained

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
    response = httpx.post(f"{address}/invocations", json=body, trust_env=False)
    assert response.status_code == 200, response.text
    predictions = response.json()["predictions"]
    assert [one["score"] for one in predictions] == pytest.approx(scores.tolist(), abs=1e-12)
    assert [one["label"] for one in predictions] == ["positive" if score > 0.5 else "negative" for score in scores]
