"""A set of baselines on the sample, read back from the store."""

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from flows.baselines import baselines
from sentiflow import baselines as fitting
from sentiflow.baselines import NAMES, TOP, Fitted
from sentiflow.data import reviews
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.evaluation import ScoreTable
from sentiflow.evaluation.statistics import compare, tango
from sentiflow.results import BaselinesResult
from sentiflow.store.client import connect
from sentiflow.store.find import open_store, score_table
from sentiflow.training.recipes import TrainConfig, load_recipe
from tests.prefect_store import artifacts_of, tasks_of
from tests.world import World, make_world, refusal

pytestmark = pytest.mark.story

CONFIG = load_recipe(
    "tutorial", ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4", "learning_rate=0.01"]
)

Seen = dict[str, tuple[set[str], set[str]]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> World:
    return make_world(tmp_path_factory.mktemp("baselines"), migrated_store)


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Ids of the reviews that each fitting was given."""
    return {}


@pytest.fixture(scope="module")
def result(measured: World, prefect_server: None, seen: Seen) -> BaselinesResult:
    fit = fitting.fit

    def watched(name: str, training: Reviews, validation: Reviews, config: TrainConfig) -> Fitted:
        seen[name] = set(training.review_id), set(validation.review_id)
        return fit(name, training, validation, config)

    with pytest.MonkeyPatch.context() as patch:
        measured.enter(patch)
        patch.setattr(fitting, "fit", watched)
        return baselines(CONFIG, "sample", 3)


@pytest.fixture(scope="module")
def client(measured: World) -> MlflowClient:
    return connect(measured.settings)


@pytest.fixture(scope="module")
def children(result: BaselinesResult, client: MlflowClient) -> dict[str, Run]:
    """By name; the network's is called seed, as its recipe."""
    found = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{result.run_id}'")
    return {run.data.tags["recipe"]: run for run in found}


@pytest.fixture(scope="module")
def tables(
    children: dict[str, Run], measured: World, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ScoreTable]:
    store, folder = open_store(measured.settings), tmp_path_factory.mktemp("scores")
    found = {name: score_table(store, store.record(run.info.run_id), folder) for name, run in children.items()}
    return {name: table for name, table in found.items() if table is not None}


def test_each_is_a_finished_run_below_the_parent_that_says_what_it_is(
    children: dict[str, Run], result: BaselinesResult, client: MlflowClient
) -> None:
    assert set(children) == {"tutorial", *NAMES}
    assert {(run.info.status, run.data.tags["kind"]) for run in children.values()} == {("FINISHED", "baseline")}
    assert client.get_run(result.run_id).data.tags["kind"] == "baselines"
    moment = result.run_name.rpartition("seed3-")[2]
    assert {name: run.info.run_name for name, run in children.items() if name != "tutorial"} == {
        name: f"{name}-sample-seed3-{moment}" for name in NAMES
    }
    assert "baselines-" + children["tutorial"].info.run_name == result.run_name


def test_runs_beside_each_other_have_colours_that_differ(
    result: BaselinesResult, children: dict[str, Run], client: MlflowClient
) -> None:
    """Red if MLflow's charts drew two lines of one set alike."""
    runs = [client.get_run(result.run_id), *children.values()]
    colours = [each.data.tags["mlflow.runColor"] for each in runs]
    assert len(set(colours)) == len(colours) == 5


def test_all_scored_the_same_reviews_of_the_same_dataset(
    children: dict[str, Run], tables: dict[str, ScoreTable]
) -> None:
    assert len({run.data.params["dataset.digest"] for run in children.values()}) == 1
    assert all(run.inputs.dataset_inputs for run in children.values())
    assert set(tables) == set(children)
    for name, table in tables.items():
        assert table.sequence_length == (20 if name != "nb-bigrams" else table.n_tokens.max())
        assert table.review_id.tolist() == tables["tutorial"].review_id.tolist()
        assert table.label.tolist() == tables["tutorial"].label.tolist()


def test_nothing_is_fitted_on_a_test_review(seen: Seen, measured: World, result: BaselinesResult) -> None:
    (path,) = (measured.root / "data" / "datasets" / "sample").glob("*.parquet")
    training, validation = reviews.read(path).learning_splits(0.2)
    assert seen == dict.fromkeys(NAMES, (set(training.review_id), set(validation.review_id)))
    assert not (set(training.review_id) | set(validation.review_id)) & set(reviews.read(path).of("test").review_id)


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_s_run_holds_what_a_network_s_does(
    name: str, children: dict[str, Run], client: MlflowClient, tables: dict[str, ScoreTable]
) -> None:
    run, network = children[name], children["tutorial"]
    by_epoch = {
        "train/loss", "train/accuracy", "train/learning_rate", "train/throughput", "train/epoch_seconds",
    }  # fmt: skip
    assert set(network.data.metrics) - set(run.data.metrics) == by_epoch
    assert run.data.metrics["test/accuracy"] == tables[name].right.mean()
    files = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    assert files >= {"report.html", "test_scores.parquet", "plots", "model_summary.txt"}


@pytest.mark.parametrize("name", NAMES)
def test_the_parent_holds_accuracy_and_difference_of_each(
    name: str, result: BaselinesResult, client: MlflowClient, tables: dict[str, ScoreTable]
) -> None:
    parent = client.get_run(result.run_id).data
    mine, network = tables[name].right, tables["tutorial"].right
    assert parent.metrics[f"test/accuracy_{name}"] == mine.mean()
    assert parent.metrics[f"test/difference_{name}"] == pytest.approx(mine.mean() - network.mean())
    assert parent.metrics[f"test/p_value_{name}"] == compare(mine, network).p_value
    assert parent.metrics["test/accuracy_network"] == network.mean()


def test_the_description_has_a_line_a_model_and_prefect_shows_it(
    result: BaselinesResult, client: MlflowClient, tables: dict[str, ScoreTable]
) -> None:
    note = client.get_run(result.run_id).data.tags["mlflow.note.content"]
    lines = note.splitlines()
    rows = takewhile(lambda line: line.startswith("|"), lines[lines.index(TOP) + 2 :])
    rows = list(rows)
    assert [row.split(" | ")[0] for row in rows] == [
        "| tutorial with 5 changes, seed 3",
        *(f"| {name}" for name in NAMES),
    ]
    mine, network = tables["majority"].right, tables["tutorial"].right
    low, high = tango(int((mine & ~network).sum()), int((network & ~mine).sum()), len(mine))
    assert f"({100 * low:+.2f} to {100 * high:+.2f})" in rows[1]
    assert "report.html" in {entry.path for entry in client.list_artifacts(result.run_id)}
    flow_run = client.get_run(result.run_id).data.tags["prefect.flow_run_id"]
    assert any(a.key == "baselines-summary" and a.data == note for a in artifacts_of(flow_run))
    names = {task.name for task in tasks_of(flow_run, len(NAMES) + 5)}
    assert {"train network", "evaluate network", *(f"baseline {name}" for name in NAMES)} <= names


def test_one_that_fails_fails_the_set_and_those_before_it_stay(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "fit", failing_at("tfidf", fitting.fit))
    with pytest.raises(UsageError, match="the words are gone"):
        baselines(CONFIG, "sample", 0, ["nb-bigrams", "tfidf", "majority"])
    found = connect(world.settings).search_runs(["1"])
    assert {(run.data.tags["kind"], run.data.tags["recipe"]): run.info.status for run in found} == {
        ("baselines", "tutorial"): "FAILED", ("baseline", "tutorial"): "FINISHED",
        ("baseline", "majority"): "FINISHED", ("baseline", "tfidf"): "FAILED",
    }  # fmt: skip
    assert list((world.root / "data" / "work").glob("*/*")) == []


def failing_at(wrong: str, fit: Callable[..., Fitted]) -> Callable[..., Fitted]:
    def fitting(name: str, *rest: object) -> Fitted:
        if name == wrong:
            raise UsageError("the words are gone")
        return fit(name, *rest)

    return fitting


def test_a_baseline_that_there_is_not_is_refused_before_anything_is_done(world: World) -> None:
    error = refusal("baselines", "--dataset", "sample", "--only", "bert")
    assert error.exit_code == 2
    assert "No baseline is named 'bert'" in str(error) and "majority, tfidf" in str(error)
    assert not connect(world.settings).search_experiments(filter_string="name = 'sentiflow'")
