"""One creation makes one thing, whatever happens to the server and its answer; all with a real server."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from flows.train import train
from sentiflow.recipes import load_recipe
from sentiflow.tracking.creation import CREATION, create_model, create_run, create_version, token
from tests.faulty_proxy import cut, drop, freeze, hold, proxy
from tests.servers import mlflow
from tests.world import World

pytestmark = pytest.mark.story

TIMEOUT = 2  # seconds; a server is usually given 10
FAULTS: dict[str, Callable[[str], Callable[[Any], None]]] = {
    "frozen for longer than several time-outs": lambda address: freeze(address, 12),
    "its answer cut off": lambda _: cut,
    "no answer": lambda _: drop,
    "so late that it was asked again": lambda _: hold(8),
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
    return str(MlflowClient(server, server).create_experiment(token()))


@pytest.fixture
def be_impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Gives the requests from now on the short time-out."""

    def shorten() -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT))
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")

    return shorten


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", [RUNS, MODELS, VERSIONS])
def test_one_thing_is_made(
    server: str, experiment: str, be_impatient: Callable[[], None], what: str, fault: str
) -> None:
    """Red if MLflow's client repeats by itself: a server that was only slow then makes two, silently."""
    direct = MlflowClient(server, server)
    run = direct.create_run(experiment).info.run_id
    direct.create_registered_model(experiment)
    model = direct.create_logged_model(experiment, "another", run).model_id
    be_impatient()
    with proxy(server, f"POST /api/2.0/mlflow/{what}", FAULTS[fault](server)) as address:
        client = MlflowClient(address, address)
        if what == RUNS:
            made = create_run(client, experiment, {CREATION: token()}, "mine").info.run_id
        elif what == MODELS:
            made = create_model(client, experiment, "mine", run, {"a": "b"}, {"c": "d"}).model_id
        else:
            made = create_version(client, experiment, run, model, {"a": "b"}, "Mine.").version
        time.sleep(3)  # whatever is still under way arrives
    there = {
        RUNS: lambda: [found.info.run_id for found in direct.search_runs([experiment], "run_name = 'mine'")],
        MODELS: lambda: [found.model_id for found in direct.search_logged_models([experiment], "name = 'mine'")],
        VERSIONS: lambda: [found.version for found in direct.search_model_versions(f"name = '{experiment}'")],
    }
    assert there[what]() == [made]


def test_a_training_whose_server_freezes_at_each_creation_gives_one_run_and_one_version(
    server: str,
    world: World,
    prefect_server: None,
    monkeypatch: pytest.MonkeyPatch,
    be_impatient: Callable[[], None],
) -> None:
    """For longer than one time-out."""
    MlflowClient(server, server).search_registered_models()  # the first request opens the store
    be_impatient()
    creations = ["experiments/create", RUNS, MODELS, "registered-models/create", VERSIONS]
    with ExitStack() as stack:
        address = server
        for what in creations:
            address = stack.enter_context(proxy(address, f"POST /api/2.0/mlflow/{what}", freeze(server, 5)))
        monkeypatch.setenv("SENTIFLOW_TRACKING_URI", address)
        train(load_recipe("tutorial", ["epochs=1", "sequence_length=80"]), "sample", 1)
    direct = MlflowClient(server, server)
    (found,) = [each for each in direct.search_experiments() if each.name == "sentiflow"]
    (run,) = direct.search_runs([found.experiment_id])
    assert run.info.status == "FINISHED"
    (version,) = direct.search_model_versions("name = 'sample-sentiment'")
    assert version.run_id == run.info.run_id
    assert len(direct.search_logged_models([found.experiment_id])) == 1


def test_what_a_server_refuses_is_told_at_once(server: str, experiment: str) -> None:
    began = time.monotonic()
    with pytest.raises(Exception, match="RESOURCE_DOES_NOT_EXIST"):
        create_run(MlflowClient(server, server), "987654", {CREATION: token()}, "mine")
    assert time.monotonic() - began < TIMEOUT
