import threading
from pathlib import Path
from uuid import UUID

import pytest
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client

from flows.train import train
from sentiflow.data.table import DEFAULT_OPTIONS
from sentiflow.errors import UsageError
from sentiflow.store.client import connect
from sentiflow.training.provenance import TRAINING_KEY, trained_already
from sentiflow.training.recipes import load_recipe
from tests.mlflow_store import champion_of
from tests.prefect_store import artifacts_of, tasks_of
from tests.sentiflow.test_locks import line_with, process
from tests.store import check_run
from tests.world import Registry, Trained, World

QUICK = load_recipe("tutorial", ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4"])


def runs(client: MlflowClient, **tags: str) -> list:
    found = client.search_runs(["1"], order_by=["attributes.start_time ASC"])
    return [run for run in found if all(run.data.tags.get(key) == value for key, value in tags.items())]


def test_a_run_holds_everything_that_the_design_lists(trained: Trained, tmp_path: Path) -> None:
    client = connect(trained.world.settings)
    check_run(client, trained.result.run_id, epochs=5, test_reviews=1_000, folder=tmp_path)


def test_the_sample_is_learnt(trained: Trained) -> None:
    assert trained.result.measured.accuracy_ci_low > 0.85


def test_prefect_shows_named_tasks_a_summary_and_a_link_to_the_mlflow_run(
    world: World, prefect_server: None
) -> None:
    result = train(QUICK, "sample", 4)
    tags = connect(world.settings).get_run(result.run_id).data.tags
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(tags["prefect.flow_run_id"]))
    assert flow_run.name.startswith("tutorial+4changes-sample-seed4-")
    assert flow_run.name == tags["mlflow.runName"]
    assert tags["mlflow.sentiflow.run_count"] == str(flow_run.run_count) == "1"
    assert [task.name for task in tasks_of(flow_run.id, 7)] == [
        "fetch",
        "prepare",
        "fit",
        "train",
        "evaluate",
        "register",
        "summarize",
    ]
    by_key = {artifact.key: artifact for artifact in artifacts_of(flow_run.id)}
    assert f"{result.measured.accuracy:.2%}" in by_key["training-summary"].data
    assert result.run_url in by_key["mlflow-run"].data
    assert all(artifact.description for artifact in by_key.values())


def test_a_failed_run_says_why_leaves_no_version_and_the_next_one_works(
    world: World, prefect_server: None, tmp_path: Path
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("text,label\ngood film,1\nbad film,maybe\n")
    with pytest.raises(UsageError, match="unknown label"):
        train(QUICK, str(table), 0)
    client = connect(world.settings)
    (run,) = runs(client)
    assert run.info.status == "FAILED"
    assert "1 of 2 rows are rejected" in run.data.tags["end"]
    assert not client.search_model_versions("name = 'mine-sentiment'")
    assert list((world.root / "data" / "work").glob("*/*")) == []
    assert train(QUICK, "sample", 0).model.version == 1


SAME = load_recipe("tutorial", ["sequence_length=80"])  # as the versions of the fixture were trained


def test_what_was_trained_already_is_skipped_without_a_run(registry: World, prefect_server: None) -> None:
    client = connect(registry.settings)
    before = len(runs(client))
    state = train(SAME, "sample", 4, return_state=True)
    assert (state.name, state.is_completed()) == ("Skipped", True)
    same = "the same recipe, data, seed, code and packages"
    assert state.message == f"Nothing to train: sample-sentiment version {Registry.GOOD} has {same}."
    assert len(runs(client)) == before
    assert champion_of(client, "sample-sentiment") is None


@pytest.mark.story
@pytest.mark.parametrize("by_hand", [True, False])
def test_what_was_trained_while_a_training_waited_is_found(
    registry: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    """Red if it looked before it waited: it would train and register the same again."""
    client, version = connect(registry.settings), ("sample-sentiment", str(Registry.GOOD))
    key = client.get_model_version(*version).tags[TRAINING_KEY]
    client.delete_model_version_tag(*version, TRAINING_KEY)
    if by_hand:
        monkeypatch.setattr("sentiflow.locks._LOOK", 20.0)  # a second is short for a test
    else:
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "0" * 8)
    with process(registry, model="sample-sentiment") as holder:
        line_with("held", holder)
        end = threading.Timer(
            3, lambda: (client.set_model_version_tag(*version, TRAINING_KEY, key), holder.kill())
        )
        end.start()
        assert train(SAME, "sample", 4, return_state=True).name == "Skipped"
        end.join()


def test_a_skipped_training_that_promotes_promotes_the_version_that_is_there(
    registry: World, prefect_server: None
) -> None:
    for _ in range(2):  # the second time it is the champion already
        state = train(SAME, "sample", 4, promote=True, return_state=True)
        assert state.name == "Skipped"
        assert champion_of(connect(registry.settings), "sample-sentiment") == Registry.GOOD


def test_a_deleted_version_is_trained_again(registry: World) -> None:
    settings = registry.settings
    assert trained_already(SAME, "sample", 4, settings, DEFAULT_OPTIONS, "auto") is not None
    assert trained_already(SAME, "sample", 6, settings, DEFAULT_OPTIONS, "auto") is None
    longer = SAME.model_copy(update={"epochs": 4})
    assert trained_already(longer, "sample", 4, settings, DEFAULT_OPTIONS, "auto") is None
    connect(settings).delete_model_version("sample-sentiment", str(Registry.GOOD))
    assert trained_already(SAME, "sample", 4, settings, DEFAULT_OPTIONS, "auto") is None
