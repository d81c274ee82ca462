"""What ``trigger`` makes of its options, and what it says without a server to ask."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.cli import admin
from flows.cli.admin import parameters_of
from flows.schedules import deployments
from sentiflow.errors import UsageError
from sentiflow.operations.deployments import Applied, apply
from sentiflow.operations.flow_runs import start
from sentiflow.settings import Settings
from sentiflow.training.recipes import load_recipe
from tests.flows.cli.test_commands import run_telling_modules
from tests.servers import free_port
from tests.world import World, refusal


def deployed(client: SyncPrefectClient, flow: str) -> Applied:
    table = deployments(Settings(_env_file=None, schedule_dataset="sample"))
    return apply(client, next(each for each in table if each.flow == flow))


def given(client: SyncPrefectClient, flow: str, *changes: str, **more: Any) -> dict[str, Any]:
    """The parameters that a run of a deployment would get beside the deployment's own."""
    deployment = more.pop("of", None) or deployed(client, flow).on_server
    options = {"dataset": None, "recipe": None, **more}
    return parameters_of(deployment, given=dict(each.split("=", 1) for each in changes), **options)


def test_a_flows_parameters_are_read_as_json_and_all_else_as_the_recipes(client: SyncPrefectClient) -> None:
    changes = ["seed=7", "promote=true", "epochs=2", "optimizer=sgd", 'table={"text_column": "review"}']
    config = load_recipe("tuned", ["epochs=2", "optimizer=sgd"]).short()
    assert given(client, "train", *changes) == {
        "seed": 7, "promote": True, "table": {"text_column": "review"}, "config": config,
    }  # fmt: skip


def test_another_recipe_replaces_the_deployments(client: SyncPrefectClient) -> None:
    found = given(client, "train", "units=8", dataset="imdb", recipe="tutorial")
    assert found == {"dataset": "imdb", "config": load_recipe("tutorial", ["units=8"]).short()}


def test_another_dataset_takes_its_own_default_recipe_and_no_options_of_a_table(client: SyncPrefectClient) -> None:
    settings = Settings(_env_file=None, schedule_dataset="a.csv", schedule_table={"label_column": "stars"})
    spec = next(each for each in deployments(settings) if each.flow == "train")
    of_table = apply(client, spec).on_server
    found = given(client, "train", of=of_table, dataset="sample")
    assert (found.pop("config")["recipe"], found) == ("tuned", {"dataset": "sample", "table": {}})
    assert given(client, "train", of=of_table, dataset="/b.csv") == {"dataset": "/b.csv", "table": {}}
    found = given(client, "train", "epochs=3", dataset="/b.csv")
    assert found["config"] == load_recipe("fitted", ["epochs=3"]).short()


def test_changes_of_a_deployment_without_a_recipe_are_of_the_flows_own(client: SyncPrefectClient) -> None:
    deployment = deployed(client, "train").on_server.model_copy(update={"parameters": {}})
    found = given(client, "train", "epochs=2", of=deployment)
    assert found == {"config": load_recipe("tuned", ["epochs=2"]).short()}


def test_without_options_everything_is_the_deployments(client: SyncPrefectClient) -> None:
    made = start(client, deployed(client, "train").on_server, {})
    assert (made.parameters["dataset"], made.parameters["config"]["recipe"]) == ("sample", "tuned")


def test_paths_are_taken_from_the_current_folder(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = given(client, "score", "source=in.csv", "output=out.parquet", 'keep=["id"]', "dataset=sample")
    assert found == {
        "source": f"{tmp_path}/in.csv", "output": f"{tmp_path}/out.parquet", "keep": ["id"], "dataset": "sample",
    }  # fmt: skip
    found = given(client, "sweep", "space=my.toml", dataset="my.csv")
    assert (found["space"], found["dataset"]) == (f"{tmp_path}/my.toml", f"{tmp_path}/my.csv")


@pytest.mark.parametrize(
    ("flow", "dataset", "changes", "told"),
    [
        ("promote", None, ["versoin=1"], "It has: dataset, version, force, reason."),
        ("train", None, ["epoch=1"], "epochs"),
        ("train", None, ["epochs=0"], "epochs"),
        ("promote", None, ["version=x"], "The parameters are refused"),
        ("score", None, ["source=in.csv"], "output"),
        ("housekeeping", "sample", [], "'dataset'"),
    ],
)
def test_what_cannot_be_is_refused_and_what_there_is_is_named(
    client: SyncPrefectClient, flow: str, dataset: str | None, changes: list[str], told: str
) -> None:
    deployment = deployed(client, flow).on_server
    with pytest.raises(UsageError) as err:
        start(client, deployment, given(client, flow, *changes, of=deployment, dataset=dataset))
    assert told in str(err.value)


@pytest.mark.parametrize("name", ["nightly", "train/nightly", "a/b/c"])
def test_a_deployment_that_is_not_there_is_told(client: SyncPrefectClient, world: World, name: str) -> None:
    for flow in ("train", "score"):
        deployed(client, flow)
    told = refusal("trigger", name)
    assert (told.exit_code, told.hint) == (2, "There are: score, train.")


def test_a_deployment_may_be_named_in_full(client: SyncPrefectClient, world: World) -> None:
    deployed(client, "train")
    assert "Did you mean epochs?" in refusal("trigger", "train/train", "--set", "epoch=1").hint


def test_without_a_server_it_says_how_to_start_one_and_loads_nothing_of_a_training(world: World) -> None:
    nowhere = {"PREFECT_API_URL": "", "SENTIFLOW_PREFECT_PORT": str(free_port())}
    done, loaded = run_telling_modules("trigger", "train", world=world, **nowhere)
    assert (done.returncode, "Start `sentiflow schedule`" in done.stderr) == (3, True)
    assert not loaded & {"mlflow", "tensorflow", "keras"}


def test_a_run_that_no_worker_takes_is_said_to_be_queued(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(client, deployed(client, "train").on_server, {})
    monkeypatch.setattr(admin, "_QUEUED_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(admin._follow(run.id), 4))
    told = capsys.readouterr()
    assert (told.out + told.err).count("Still queued: no worker has picked it up") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--train", "61 * * * *"), "expected a cron line"),
        (
            ("--train", "every day"),
            "The schedule of train (--train or SENTIFLOW_SCHEDULE_TRAIN): expected a cron line",
        ),
        (("--timezone", "Mars/Olympus"), "--timezone: invalid timezone: Mars/Olympus"),
        (("--score", "every 1h"), "Scheduled scoring needs an input and an output."),
        (("--input", "in.csv"), "--input and --output are for scoring."),
        (("--score", "Off", "--input", "in.csv"), "--input and --output are for scoring."),
        (("--recipe", "sed"), "No recipe is named 'sed'"),
    ],
)
def test_a_schedule_that_cannot_be_is_told_before_a_server_is_started(
    world: World, arguments: tuple[str, ...], told: str
) -> None:
    error = refusal("schedule", *arguments)
    assert (error.exit_code, told in str(error)) == (2, True), error
    assert not (world.root / "data").exists()
