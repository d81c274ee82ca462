"""A sweep, read back from the store; by threads, as TensorFlow is imported here already."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from flows.sweep import sweep
from sentiflow.errors import DivergedError, ExternalError, UsageError
from sentiflow.results import SweepResult, by_loss
from sentiflow.store.client import connect
from sentiflow.sweeps import study
from sentiflow.training.recipes import load_recipe
from tests.prefect_store import artifacts_of, tasks_of
from tests.world import World, make_world

pytestmark = pytest.mark.story

CONFIG = load_recipe("tutorial", ["epochs=2", "sequence_length=20", "units=4", "embedding_size=4"])
CONFIG_PARAMS = {name: str(value) for name, value in CONFIG}
SPACE = "[learning_rate]\nlow = 0.0005\nhigh = 0.02\nlog = true\n[batch_size]\nchoices = [64, 128]\n"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="module", autouse=True)
def _by_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTIFLOW_TASK_RUNNER", "threads")
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> World:
    return make_world(tmp_path_factory.mktemp("sweep"), migrated_store)


@pytest.fixture(scope="module")
def result(swept: World, space: Path, _by_threads: None, prefect_server: None) -> SweepResult:
    with pytest.MonkeyPatch.context() as patch:
        swept.enter(patch)
        return sweep(CONFIG, "sample", 3, trials=4, workers=2, repeats=2, space=space)


@pytest.fixture(scope="module")
def client(swept: World) -> MlflowClient:
    return connect(swept.settings)


def children(client: MlflowClient, parent: str, kind: str) -> list[Run]:
    wanted = f"tags.`mlflow.parentRunId` = '{parent}' and tags.kind = '{kind}'"
    return list(client.search_runs(["1"], wanted, order_by=["attributes.run_name ASC"]))


def test_each_trial_is_a_finished_run_below_the_parent_with_what_it_tried(
    result: SweepResult, client: MlflowClient
) -> None:
    found = children(client, result.run_id, "trial")
    assert [run.data.tags["trial.number"] for run in found] == ["0", "1", "2", "3"]
    for run, row in zip(found, result.trials, strict=True):
        assert (run.info.status, run.data.tags["trial.state"]) == ("FINISHED", row.state)
        assert run.info.run_name.startswith(f"trial0{row.number}-")
        assert float(run.data.params["learning_rate"]) == row.values["learning_rate"]
        assert [entry.step for entry in client.get_metric_history(run.info.run_id, "val/loss")] == list(
            range(1, row.epochs + 1)
        )
        assert run.data.params["seed"] == "3" and run.inputs.dataset_inputs


def test_the_first_trial_is_the_recipe_as_it_is(result: SweepResult) -> None:
    assert dict(result.trials[0].values) == {"learning_rate": 0.001, "batch_size": 128}
    assert len({row.values["learning_rate"] for row in result.trials}) == 4


def test_no_trial_touches_the_test_split(result: SweepResult, client: MlflowClient) -> None:
    trials = children(client, result.run_id, "trial")
    assert len(trials) == 4
    for run in trials:
        assert not [name for name in run.data.metrics if name.startswith("test/")]
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files - {"uncommitted.patch"} == {"packages.txt", "sources.txt"}


def test_the_best_by_validation_is_trained_with_each_seed_and_its_best_is_registered(
    result: SweepResult, client: MlflowClient
) -> None:
    complete = [
        run for run in children(client, result.run_id, "trial") if run.data.tags["trial.state"] == "complete"
    ]
    best = min(complete, key=lambda run: run.data.metrics["val/loss"])
    seeds = children(client, result.run_id, "repeat")
    assert [run.data.params["seed"] for run in seeds] == ["0", "1"]
    assert {run.data.params["learning_rate"] for run in seeds} == {best.data.params["learning_rate"]}
    assert all("test/accuracy" in run.data.metrics for run in seeds)
    lowest = min(seeds, key=lambda run: client.get_metric_history(run.info.run_id, "val/loss")[-1].value)
    (version,) = client.search_model_versions("name = 'sample-sentiment'")
    assert version.run_id == lowest.info.run_id == result.best.run.run_id


def test_the_parent_tells_the_whole(result: SweepResult, client: MlflowClient, tmp_path: Path) -> None:
    parent = client.get_run(result.run_id)
    assert (parent.info.status, parent.data.tags["kind"]) == ("FINISHED", "sweep")
    assert parent.data.metrics["val/loss"] == by_loss(result.trials)[0].loss
    assert int(parent.data.tags["trials.complete"]) + int(parent.data.tags["trials.pruned"]) == 4
    told = parent.data.tags["mlflow.note.content"]
    files = Path(client.download_artifacts(result.run_id, "", str(tmp_path)))
    best = {name: str(getattr(result.config, name)) for name in ("learning_rate", "batch_size")}
    assert {name: parent.data.params[name] for name in best} == best  # whose accuracy the parent has
    assert (parent.data.params["epochs"], parent.data.params["seed"]) == ("2", "3")
    set_before = ["epochs=2", "sequence_length=20", "units=4", "embedding_size=4"]
    found = [f"{name}={value}" for name, value in best.items() if value != CONFIG_PARAMS[name]]
    assert sorted(parent.data.tags["recipe.changes"].split(", ")) == sorted([*set_before, *found])
    table = pd.read_csv(files / "trials.csv")
    assert table["val_loss"].tolist() == [row.loss for row in result.trials]
    assert table["run_id"].tolist() == [row.run_id for row in result.trials]
    assert load_recipe(str(files / "best.toml")) == result.config
    assert "test accuracy" in told.lower()


def test_prefect_has_a_task_a_trial_and_the_summary(result: SweepResult, client: MlflowClient) -> None:
    flow_run_id = client.get_run(result.run_id).data.tags["prefect.flow_run_id"]
    names = [task.name for task in tasks_of(flow_run_id, 12)]
    assert sum(name.startswith("trial ") for name in names) == 4
    assert sum(name.startswith("train the best") for name in names) == 2
    assert any(artifact.key == "sweep-summary" and result.run_url for artifact in artifacts_of(flow_run_id))


def test_a_finished_sweep_leaves_no_study(result: SweepResult, swept: World) -> None:
    assert not list((swept.root / "data" / "sweeps").glob("*/*"))


def test_a_sweep_that_failed_goes_on_with_what_it_has(
    world: World, prefect_server: None, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = study._trained, []

    def failing(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise ExternalError("the disk is full")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(study, "_trained", failing)
    with pytest.raises(ExternalError, match="the disk is full"):
        sweep(CONFIG, "sample", trials=4, workers=1, repeats=1, space=space)
    client = connect(world.settings)
    (first,) = client.search_runs(["1"], "tags.kind = 'sweep'")
    assert not first.data.params.keys() & {"learning_rate", "batch_size"}  # no best is known
    before = {run.info.run_id: run for run in children(client, first.info.run_id, "trial")}
    assert sorted(run.info.status for run in before.values()) == ["FAILED", "FINISHED", "FINISHED"]
    done = sweep(CONFIG, "sample", trials=4, workers=1, repeats=1, space=space)
    after = {run.info.run_id: run for run in children(client, done.run_id, "trial")}
    assert [run.info.status for run in after.values()] == ["FINISHED"] * 2
    kept = {key for key, run in before.items() if run.info.status == "FINISHED"}
    assert {row.run_id for row in done.trials} == kept | set(after)
    assert len(calls) == 5  # two, one that failed, that one again, and the fourth
    assert client.get_run(done.run_id).data.tags["continues"] == first.info.run_id
    (seed,) = children(client, done.run_id, "repeat")
    for name in (
        "test/accuracy",
        "test/accuracy_ci_low",
        "test/accuracy_ci_high",
    ):  # the parent's are its only seed's
        assert client.get_run(done.run_id).data.metrics[name] == seed.data.metrics[name]
    (failed,) = (run for run in before.values() if run.info.status == "FAILED")
    again = {run.data.params["learning_rate"] for run in after.values()}
    assert failed.data.params["learning_rate"] in again


def test_a_sweep_in_which_all_trials_diverge_says_so(
    world: World, prefect_server: None, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*_arguments: object) -> None:
        raise DivergedError("The training diverged: the loss became NaN or infinite in epoch 1.")

    monkeypatch.setattr("sentiflow.training.network.loop.train", diverging)
    with pytest.raises(UsageError, match="Every trial diverged"):
        sweep(CONFIG, "sample", trials=2, workers=1, repeats=1, space=space)
    found = connect(world.settings).search_runs(["1"], "tags.kind = 'trial'")
    assert [(run.info.status, run.data.tags["trial.state"]) for run in found] == [("FINISHED", "diverged")] * 2
