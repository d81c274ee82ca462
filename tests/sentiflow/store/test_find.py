import sqlite3
from contextlib import closing
from math import isnan
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from sentiflow.errors import ExternalError, UsageError
from sentiflow.settings import Settings
from sentiflow.store.client import connect, experiment_id, record_of
from sentiflow.store.find import find_run, open_store, score_table
from sentiflow.store.records import Store, choose_name
from sentiflow.store.sqlite import SqliteStore
from tests.world import World

MOMENT = 1_700_000_000_000


@pytest.fixture
def client(world: World) -> MlflowClient:
    return connect(world.settings)


@pytest.fixture
def experiment(world: World, client: MlflowClient) -> str:
    return experiment_id(client, world.settings)


def add(client: MlflowClient, experiment: str, name: str, after: int = 0, **tags: str) -> str:
    """Make a finished run, so many seconds after the first; gives its id."""
    named = {key.replace("__", "."): value for key, value in tags.items()}
    run = client.create_run(experiment, start_time=MOMENT + 1000 * after, tags=named, run_name=name)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def test_a_short_name_means_the_only_run_that_has_it(world: World, client: MlflowClient, experiment: str) -> None:
    store = open_store(world.settings)
    first = add(client, experiment, "tuned-imdb-seed0-261125-101500", dataset="imdb")
    assert find_run(store, "tuned-seed0").run_id == first
    mine = add(client, experiment, "me@work-imdb-seed0-261125-101500", dataset="imdb")  # like a version's name
    assert find_run(store, "me@work-seed0").run_id == mine
    add(client, experiment, "tuned-imdb-seed0-261126-101500", dataset="imdb")
    with pytest.raises(UsageError, match="'tuned-seed0' means 2 runs"):
        find_run(store, "tuned-seed0")
    plain = add(client, experiment, "tutorial-imdb-seed0-261126-101500", dataset="imdb")
    assert find_run(store, "tutorial").run_id == plain  # `sentiflow runs` leaves out the seed that all have
    with pytest.raises(UsageError, match="'tuned' means 2 runs"):
        find_run(store, "tuned")


def add_version(client: MlflowClient, experiment: str, model: str, run_id: str | None) -> None:
    logged = client.create_logged_model(experiment, name=model)
    client.create_model_version(model, f"models:/{logged.model_id}", run_id=run_id, model_id=logged.model_id)


def test_reading_sqlite_agrees_with_mlflows_own_client(
    world: World, client: MlflowClient, experiment: str
) -> None:
    parent = add(client, experiment, "parent", recipe="tuned", kind="repeats")
    children = [add(client, experiment, f"child{n}", n, mlflow__parentRunId=parent) for n in (2, 1, 1)]
    client.log_batch(
        parent,
        metrics=[Metric("val/loss", value, MOMENT, step) for step, value in ((2, 0.4), (1, 0.5), (3, 0.45))]
        + [Metric("test/accuracy", 0.88, MOMENT, 0), Metric("val/loss", 0.3, MOMENT + 9, 2)],
        params=[Param("units", "32"), Param("empty", "")],
    )
    client.log_metric(children[0], "train/loss", float("nan"), step=1)
    client.log_metric(children[0], "train/rate", float("inf"), step=1)
    gone, elsewhere = add(client, experiment, "gone", 5), client.create_experiment("other")
    client.set_tag(gone, "mlflow.parentRunId", parent)
    client.delete_run(gone)
    other = add(client, elsewhere, "other", 6)
    client.create_registered_model("m")
    add_version(client, experiment, "m", parent)
    add_version(client, experiment, "m", children[1])
    add_version(client, experiment, "m", children[1])
    client.delete_model_version("m", "3")
    client.create_registered_model("production")
    add_version(client, experiment, "production", parent)  # by a person, of the same run
    client.copy_model_version("models:/m/1", "shipped")  # as MLflow's "Promote model" does, with all tags

    store = open_store(world.settings)
    assert isinstance(store, SqliteStore)
    assert [run.name for run in store.runs()] == ["child2", "child1", "child1", "parent"]
    for run_id in (parent, children[1], other):
        assert store.record(run_id) == record_of(client.get_run(run_id))
    odd = store.record(children[0])
    assert isnan(odd.metrics["train/loss"])
    assert odd.metrics["train/rate"] == client.get_run(children[0]).data.metrics["train/rate"]
    for missing in (gone, "0" * 32):
        with pytest.raises(UsageError, match="no run"):
            store.record(missing)
    assert [run.name for run in store.children(parent)] == ["child1", "child1", "child2"]
    assert store.history(parent) == {"val/loss": [(1, 0.5), (2, 0.4), (2, 0.3), (3, 0.45)]}
    assert store.versions_by_run() == {parent: "m/1", children[1]: "m/2"}


def test_before_there_is_a_store_it_is_empty_and_none_is_made(tmp_path: Path) -> None:
    store = open_store(Settings(tracking_uri=f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"))
    assert store.runs() == store.called("a", "abcd") == []
    assert store.versions_by_run() == {}
    with pytest.raises(UsageError, match="no run") as caught:
        find_run(store, "abcd")
    assert "sentiflow train" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


IDS = "abcd" + "1" * 28, "abce" + "2" * 28, "dead" + "3" * 28, "beef" + "4" * 28
NAMES = "seed-imdb-seed0", "tuned-imdb-seed0", "tuned-imdb-seed0", "dead"


@pytest.fixture
def named(world: World, client: MlflowClient, experiment: str) -> Store:
    """A store of runs that have an id and a name, and nothing else; one more is of another experiment."""
    made = [(run_id, name, experiment, -age) for age, (run_id, name) in enumerate(zip(IDS, NAMES, strict=True))]
    made.append(("0" * 32, "elsewhere", client.create_experiment("other"), 0))
    with closing(sqlite3.connect(str(world.settings.sqlite_file))) as database, database:
        database.executemany(
            "INSERT INTO runs (run_uuid, name, experiment_id, start_time, status, lifecycle_stage)"
            " VALUES (?, ?, ?, ?, 'FINISHED', 'active')",
            made,
        )
    return open_store(world.settings)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (IDS[0], IDS[0]),
        ("abcd", IDS[0]),
        ("ABCE2", IDS[1]),
        ("seed-imdb-seed0", IDS[0]),
        ("dead3", IDS[2]),
        ("0" * 32, "0" * 32),
    ],
)
def test_a_run_is_found_by_id_beginning_or_name(named: Store, text: str, found: str) -> None:
    assert find_run(named, text).run_id == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tuned-imdb-seed0", "2 runs: abce2222 (tuned-imdb-seed0), dead3333 (tuned-imdb-seed0)"),
        ("dead", "2 runs: dead3333 (tuned-imdb-seed0), beef4444 (dead)"),  # an id, and a name
        ("abcf", "no run 'abcf'"),
        ("", "no run ''"),
        ("imdb-sentiment@champion", "no run 'imdb-sentiment@champion'"),
    ],
)
def test_what_means_no_run_or_several_is_told(named: Store, text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_run(named, text)
    assert told in str(caught.value.args[0])


def test_models_of_other_projects_are_neither_taken_nor_offered() -> None:
    store = "http://me:S3CRET@mlflow.example:5000"
    assert choose_name(["churn", "mine-sentiment"], None, store) == "mine-sentiment"
    with pytest.raises(UsageError, match="there are: one-sentiment, two-sentiment") as caught:
        choose_name(["one-sentiment", "two-sentiment", "churn"], None, store)  # nobody named imdb
    assert caught.value.hint == "Choose one, for example: --dataset one"
    with pytest.raises(UsageError, match=r"registered yet in http://\*\*\*@mlflow.example:5000"):
        choose_name(["churn"], None, store)


def test_a_version_leads_to_its_run(world: World, client: MlflowClient, experiment: str) -> None:
    first, second = add(client, experiment, "first"), add(client, experiment, "second")
    client.create_registered_model("m-sentiment")
    for run_id in (first, second, None):
        add_version(client, experiment, "m-sentiment", run_id)
    store = open_store(world.settings)
    assert find_run(store, "m-sentiment/2").name == "second"
    for text, told in (
        ("m-sentiment@champion", "no champion"), ("m-sentiment/9", "no version 9"),
        ("m-sentiment@c", "no alias c"), ("m-sentiment/3", "without a run"),
        ("n-sentiment/1", "no run 'n-sentiment/1'"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            find_run(store, text)
    client.set_registered_model_alias("m-sentiment", "champion", "1")
    client.set_registered_model_alias("m-sentiment", "challenger", "2")
    store = open_store(world.settings)
    uris = "models:/m-sentiment@champion", "models:/m-sentiment/1", f"runs:/{first}", f"runs:/{first}/model"
    for text in ("m-sentiment@champion", *uris):
        assert find_run(store, text).name == "first"
    assert find_run(store, "m-sentiment@challenger").name == "second"


def scores() -> pd.DataFrame:
    return pd.DataFrame({"review_id": ["a", "b"], "label": [0, 1], "score": [0.25, 0.5], "n_tokens": [9, 7]})


def test_scores_are_read_where_they_lie_and_a_run_without_any_has_none(
    world: World, client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    run_id, bare = add(client, experiment, "scored"), add(client, experiment, "bare")
    scores().to_parquet(tmp_path / "test_scores.parquet", index=False)
    client.log_artifact(run_id, str(tmp_path / "test_scores.parquet"))
    store = open_store(world.settings)
    table = score_table(store, store.record(run_id), tmp_path / "copies")
    assert table is not None
    assert (list(table.review_id), list(table.score), table.sequence_length) == (["a", "b"], [0.25, 0.5], 9)
    assert not (tmp_path / "copies").exists()
    client.log_param(run_id, "sequence_length", 8)
    again = score_table(store, store.record(run_id), tmp_path)
    assert again is not None and again.sequence_length == 8
    assert score_table(store, store.record(bare), tmp_path) is None


@pytest.mark.parametrize("content", ["damaged", "long ids"])
def test_damaged_scores_are_told_with_their_place(
    world: World, client: MlflowClient, experiment: str, tmp_path: Path, content: str
) -> None:
    run_id = add(client, experiment, "scored")
    if content == "damaged":
        (tmp_path / "test_scores.parquet").write_bytes(b"PAR1 and no more")
    else:
        scores().assign(review_id="a" * 1_000).to_parquet(tmp_path / "test_scores.parquet", index=False)
    client.log_artifact(run_id, str(tmp_path / "test_scores.parquet"))
    store = open_store(world.settings)
    with pytest.raises(ExternalError, match="test scores of scored cannot be read") as caught:
        score_table(store, store.record(run_id), tmp_path)
    assert "test_scores.parquet" in caught.value.hint
