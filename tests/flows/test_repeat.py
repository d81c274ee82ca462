"""A set of repeats, read back from the store."""

import statistics
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from flows.train import repeat
from sentiflow.errors import UsageError
from sentiflow.results import RepeatsResult
from sentiflow.store.client import connect
from sentiflow.training.open_run import seeds_label
from sentiflow.training.recipes import load_recipe
from tests.world import World, make_world

pytestmark = pytest.mark.story

# Two epochs of three: which epoch is kept shows.
CONFIG = load_recipe(
    "tutorial", ["epochs=3", "sequence_length=30", "units=8", "learning_rate=0.01", "early_stopping_patience=1"]
)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> World:
    return make_world(tmp_path_factory.mktemp("repeats"), migrated_store)


@pytest.fixture(scope="module")
def result(repeated: World, prefect_server: None) -> RepeatsResult:
    with pytest.MonkeyPatch.context() as patch:
        repeated.enter(patch)
        return repeat(CONFIG, "sample", 7, 3)


@pytest.fixture(scope="module")
def client(repeated: World) -> MlflowClient:
    return connect(repeated.settings)


@pytest.fixture(scope="module")
def children(result: RepeatsResult, client: MlflowClient) -> list[Run]:
    found = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{result.run_id}'")
    return sorted(found, key=lambda run: int(run.data.params["seed"]))


def test_each_seed_is_a_finished_run_below_the_parent(
    children: list[Run], result: RepeatsResult, client: MlflowClient
) -> None:
    files = {file.path for run in children for file in client.list_artifacts(run.info.run_id)}
    assert "report.html" in files and "errors.html" not in files  # megabytes a seed
    assert [(run.data.params["seed"], run.info.status) for run in children] == [
        ("7", "FINISHED"), ("8", "FINISHED"), ("9", "FINISHED"),
    ]  # fmt: skip
    assert [run.info.run_name for run in children] == [
        result.run_name.replace("seeds7to9", f"seed{seed}") for seed in (7, 8, 9)
    ]
    assert "seeds7to9" in result.run_name


def test_the_parent_sums_up_what_the_children_hold(
    result: RepeatsResult, children: list[Run], client: MlflowClient
) -> None:
    found = client.get_run(result.run_id).data.metrics
    for name in ("test/accuracy", "test/loss", "test/f1_negative", "test/auc", "test/brier"):
        values = [run.data.metrics[name] for run in children]
        expected = statistics.mean(values), statistics.stdev(values), min(values), max(values)
        assert tuple(found[f"{name}_{end}"] for end in ("mean", "sd", "min", "max")) == pytest.approx(expected)


def test_validation_figures_are_those_of_the_epochs_kept(
    result: RepeatsResult, children: list[Run], client: MlflowClient
) -> None:
    kept = []
    for run in children:
        losses = {entry.step: entry.value for entry in client.get_metric_history(run.info.run_id, "val/loss")}
        assert int(run.data.tags["best_epoch"]) == min(losses, key=losses.__getitem__)
        assert run.data.metrics["val/loss"] == min(losses.values())
        kept.append(min(losses.values()))
    assert client.get_run(result.run_id).data.metrics["val/loss_mean"] == pytest.approx(statistics.mean(kept))


def test_the_only_version_is_of_the_seed_whose_validation_loss_is_lowest(
    result: RepeatsResult, children: list[Run], client: MlflowClient
) -> None:
    best = min(children, key=lambda run: run.data.metrics["val/loss"])
    (version,) = client.search_model_versions("name = 'sample-sentiment'")
    assert version.run_id == best.info.run_id == result.best.run.run_id
    assert version.tags["seed"] == best.data.params["seed"]


def test_the_parent_tells_its_seeds_and_says_how_many(result: RepeatsResult, client: MlflowClient) -> None:
    parent = client.get_run(result.run_id)
    assert (parent.data.params["seed"], parent.data.params["repeats"], parent.info.status) == (
        "7",
        "3",
        "FINISHED",
    )
    note = parent.data.tags["mlflow.note.content"]
    assert f"mean {result.accuracy.mean:.2%}" in note
    assert [f"| {seed} | " in note for seed in (7, 8, 9)] == [True] * 3


def test_the_same_repeats_again_register_no_second_version(
    result: RepeatsResult, repeated: World, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated.enter(monkeypatch)
    again = repeat(CONFIG, "sample", 7, 3)
    assert again.run_id != result.run_id
    assert again.model == result.model
    assert len(client.search_model_versions("name = 'sample-sentiment'")) == 1


def test_a_seed_that_fails_closes_its_run_and_the_parent_and_registers_nothing(
    world: World, prefect_server: None
) -> None:
    with pytest.raises(UsageError, match="diverged"):
        repeat(CONFIG.model_copy(update={"optimizer": "sgd", "learning_rate": 1e38}), "sample", 0, 2)
    client = connect(world.settings)
    ends = {run.info.status: run.data.tags["end"] for run in client.search_runs(["1"])}
    assert list(ends) == ["FAILED"]
    assert len(client.search_runs(["1"])) == 2
    assert "diverged" in ends["FAILED"]
    assert not client.search_registered_models()
    assert list((world.root / "data" / "work").glob("*/*")) == []


@pytest.mark.parametrize(("seed", "repeats", "label"), [(3, 1, "seed3"), (0, 5, "seeds0to4")])
def test_seeds_in_a_name(seed: int, repeats: int, label: str) -> None:
    assert seeds_label(seed, repeats) == label
