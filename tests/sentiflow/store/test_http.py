"""One creation makes one thing at most, whatever happens to the server and its answer; with a real server."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from uuid import uuid4

import pytest
from mlflow.tracking import MlflowClient

from flows.train import train
from sentiflow.errors import ExternalError
from sentiflow.store import http as rest
from sentiflow.store.http import create_model, create_run, create_version
from sentiflow.training.recipes import load_recipe
from tests.faulty_proxy import cut, drop, freeze, proxy
from tests.servers import mlflow
from tests.world import World

pytestmark = pytest.mark.story

SECONDS = 4.0  # that a creation has here; a server is given two minutes
# What happens to the request, and whether the answer comes in time.
FAULTS: dict[str, tuple[Callable[[str], Callable[[Any], None]], bool]] = {
    "frozen for a while": (lambda address: freeze(address, 2), True),
    "frozen for too long": (lambda address: freeze(address, 8), False),
    "its answer cut off": (lambda _: cut, False),
    "no answer": (lambda _: drop, False),
}
RUNS, MODELS, VERSIONS = "runs/create", "logged-models", "model-versions/create"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    arguments = ["server", "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    arguments += ["--artifacts-destination", str(folder / "files")]
    with mlflow(arguments, folder, "/health") as address:
        yield address


@pytest.fixture
def experiment(server: str) -> str:
    return str(MlflowClient(server, server).create_experiment(uuid4().hex))


@pytest.mark.parametrize(
    ("what", "fault"),
    [*((RUNS, fault) for fault in FAULTS), (MODELS, "no answer"), (VERSIONS, "frozen for too long")],
)
def test_one_thing_is_made_at_most_and_what_is_not_answered_fails(
    server: str, experiment: str, monkeypatch: pytest.MonkeyPatch, what: str, fault: str
) -> None:
    """Red if a creation is repeated: a server that was only slow then makes two, silently."""
    (meet, comes) = FAULTS[fault]
    direct = MlflowClient(server, server)
    run = direct.create_run(experiment).info.run_id
    direct.create_registered_model(experiment)
    model = direct.create_logged_model(experiment, "another", run).model_id
    monkeypatch.setattr(rest, "_CREATION_SECONDS", SECONDS)
    made: list[Any] = []
    with proxy(server, f"POST /api/2.0/mlflow/{what}", meet(server)) as address:
        client = MlflowClient(address, address)
        with nullcontext() if comes else pytest.raises(ExternalError):
            if what == RUNS:
                made.append(create_run(client, experiment, {"a": "b"}, "mine"))
            elif what == MODELS:
                made.append(create_model(client, experiment, "mine", run, {"a": "b"}, {"c": "d"}).model_id)
            else:
                made.append(create_version(client, experiment, run, model, {"a": "b"}, "Mine.").version)
        time.sleep(0 if comes else 5)  # whatever is still under way arrives
    there = {
        RUNS: lambda: [found.info.run_id for found in direct.search_runs([experiment], "run_name = 'mine'")],
        MODELS: lambda: [found.model_id for found in direct.search_logged_models([experiment], "name = 'mine'")],
        VERSIONS: lambda: [found.version for found in direct.search_model_versions(f"name = '{experiment}'")],
    }
    assert there[what]() == made if comes else len(there[what]()) <= 1


def test_a_training_whose_creation_is_not_answered_ends_and_the_next_closes_what_was_made(
    server: str, world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if it went on, or left a run open for ever."""
    recipe = load_recipe("tutorial", ["epochs=1", "sequence_length=80"])
    direct = MlflowClient(server, server)
    with proxy(server, f"POST /api/2.0/mlflow/{RUNS}", drop) as address:
        monkeypatch.setenv("SENTIFLOW_TRACKING_URI", address)
        with pytest.raises(ExternalError, match="does not answer"):
            train(recipe, "sample", 1)
    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", server)
    train(recipe, "sample", 1)
    (found,) = [each for each in direct.search_experiments() if each.name == "sentiflow"]
    statuses = [run.info.status for run in direct.search_runs([found.experiment_id])]
    assert statuses == ["FINISHED", "KILLED"]
    assert len(direct.search_model_versions("name = 'sample-sentiment'")) == 1


def test_what_a_server_refuses_is_told_at_once(server: str, experiment: str) -> None:
    began = time.monotonic()
    with pytest.raises(Exception, match="RESOURCE_DOES_NOT_EXIST"):
        create_run(MlflowClient(server, server), "987654", {}, "mine")
    assert time.monotonic() - began < SECONDS
