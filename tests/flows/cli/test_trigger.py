"""What ``trigger`` makes of its options, and what it says without a server to ask."""

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.cli.parameters import check_tables, parameters_of
from flows.schedules import deployments
from sentiflow.errors import UsageError
from sentiflow.orchestration.deployments import Applied, apply
from sentiflow.orchestration.flow_runs import start
from sentiflow.recipes import load_recipe
from sentiflow.settings import Settings
from tests.flows.cli.test_commands import run_telling_modules
from tests.servers import free_port
from tests.world import World, refusal


def deployed(client: SyncPrefectClient, flow: str) -> Applied:
    table = deployments(Settings(_env_file=None, schedule_dataset="sample"))
    return apply(client, next(each for each in table if each.flow == flow))


def test_a_flows_parameters_are_read_as_its_form_has_them_and_all_else_as_the_recipes(
    client: SyncPrefectClient,
) -> None:
    changes = ["seed=7", "promote=True", "epochs=2", "optimizer=sgd", 'table={"text_column": "review"}']
    given = parameters_of(deployed(client, "train").on_server, None, None, changes, {})
    config = load_recipe("tuned", ["epochs=2", "optimizer=sgd"]).model_dump(mode="json")
    assert given == {"seed": 7, "promote": True, "table": {"text_column": "review"}, "config": config}


def test_columns_to_keep_are_named_with_commas_between_them(client: SyncPrefectClient) -> None:
    changes = ["source=in.csv", "output=out.csv", "keep=id, label"]
    assert parameters_of(deployed(client, "score").on_server, None, None, changes, {})["keep"] == ["id", "label"]
    broken = [*changes[:2], 'keep=["id", "label"']
    assert parameters_of(deployed(client, "score").on_server, None, None, broken, {})["keep"] == '["id", "label"'


def test_a_number_that_no_request_can_carry_stays_text_which_the_server_refuses(client: SyncPrefectClient) -> None:
    deployment = deployed(client, "train").on_server
    for number in ("NaN", "-Infinity", "1e999"):
        given = parameters_of(deployment, None, None, [f"seed={number}"], {})
        assert given["seed"] == number
        with pytest.raises(UsageError):
            start(client, deployment, given)


def test_another_recipe_replaces_the_deployments(client: SyncPrefectClient) -> None:
    given = parameters_of(deployed(client, "train").on_server, "imdb", "tutorial", ["units=8"], {})
    assert given == {"dataset": "imdb", "config": load_recipe("tutorial", ["units=8"]).model_dump(mode="json")}


def test_options_of_a_table_are_added_to_the_deployments_unless_the_dataset_is_built_in(
    client: SyncPrefectClient,
) -> None:
    settings = Settings(_env_file=None, schedule_dataset="a.csv", schedule_table={"label_column": "stars"})
    spec = next(each for each in deployments(settings) if each.flow == "train")
    deployment = apply(client, spec).on_server
    own = {"text_column": "review"}
    assert parameters_of(deployment, None, None, (), own)["table"] == deployment.parameters["table"] | own
    built_in = parameters_of(deployment, "sample", None, (), {})
    assert built_in.pop("config")["recipe"] == "tuned"  # the deployment's is for a table of one's own
    assert built_in == {"dataset": "sample", "table": {}}
    assert parameters_of(deployment, None, None, ["table=foo"], own)["table"] == "foo"  # it is refused next
    assert parameters_of(deployment, "/b.csv", None, (), own) == {"dataset": "/b.csv", "table": own}
    assert parameters_of(deployment, None, None, ['table={"max_rejects": "5%"}'], own)["table"] == {
        "max_rejects": "5%", **own,
    }  # fmt: skip


def test_of_a_built_in_dataset_a_table_is_trained_as_tables_are(client: SyncPrefectClient) -> None:
    given = parameters_of(deployed(client, "train").on_server, "/b.csv", None, ["epochs=3"], {})
    assert given["config"] == load_recipe("fitted", ["epochs=3"]).model_dump(mode="json")


def test_changes_of_a_deployment_without_a_recipe_are_of_the_flows_own(client: SyncPrefectClient) -> None:
    deployment = deployed(client, "train").on_server.model_copy(update={"parameters": {}})
    given = parameters_of(deployment, None, None, ["epochs=2"], {})
    assert given == {"config": load_recipe("tuned", ["epochs=2"]).model_dump(mode="json")}


def test_without_options_everything_is_the_deployments(client: SyncPrefectClient) -> None:
    made = start(client, deployed(client, "train").on_server, {})
    assert (made.parameters["dataset"], made.parameters["config"]["recipe"]) == ("sample", "tuned")


def test_paths_are_taken_from_the_current_folder(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ["source=in.csv", "output=out.parquet", 'keep=["id"]', "dataset=sample"]
    given = parameters_of(deployed(client, "score").on_server, None, None, changes, {})
    assert given == {
        "source": f"{tmp_path}/in.csv", "output": f"{tmp_path}/out.parquet", "keep": ["id"], "dataset": "sample",
    }  # fmt: skip
    given = parameters_of(deployed(client, "sweep").on_server, None, None, ["space=my.toml", "dataset=my.csv"], {})
    assert (given["space"], given["dataset"]) == (f"{tmp_path}/my.toml", f"{tmp_path}/my.csv")


@pytest.mark.parametrize(
    ("flow", "dataset", "changes", "told"),
    [
        ("promote", None, ["versoin=1"], "It has: dataset, version, force, reason."),
        ("train", None, ["forse=true"], "This flow has no parameter 'forse'.\nDid you mean force?"),
        ("train", None, ["epoch=1"], "Did you mean epochs?"),
        ("train", None, ["epochs=0"], "epochs = '0' is not allowed"),
        ("train", None, ["epochs"], "--set expects key=value"),
        ("promote", None, ["version=x"], "The parameters are refused"),
        ("score", None, [], "This flow needs source, output."),
        ("score", None, ["source=in.csv"], "This flow needs output."),
        ("housekeeping", "sample", [], "This flow has no parameter 'dataset'."),
    ],
)
def test_what_cannot_be_is_refused_and_what_there_is_is_named(
    client: SyncPrefectClient, flow: str, dataset: str | None, changes: list[str], told: str
) -> None:
    deployment = deployed(client, flow).on_server
    with pytest.raises(UsageError) as err:
        start(client, deployment, parameters_of(deployment, dataset, None, changes, {}))
    assert told in str(err.value)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"source": "in.csv", "output": "out.csv", "keep": ["number"]}, "no column number; there are: text, id"),
        ({"source": "in.csv", "output": "gone/out.csv"}, "There is no folder"),
        ({"source": "in.csv", "output": "out.jsonl", "escape_formulas": True}, "only a .csv output"),
        ({"config": {}, "dataset": "nope.csv", "table": {}}, "No dataset or table 'nope.csv'"),
        ({"config": {}, "dataset": "in.csv", "table": {"text": "id"}}, "The parameter table cannot be read: text"),
        ({"config": {}, "dataset": "in.csv", "table": "foo"}, "The parameter table cannot be read"),
    ],
)
def test_a_table_that_a_run_could_not_read_is_refused_before_there_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text,id\ngood,1\n")
    with pytest.raises(UsageError, match=told):
        check_tables(parameters, Settings(_env_file=None, data_dir=tmp_path / "data"))


@pytest.mark.parametrize("name", ["nightly", "train/nightly", "a/b/c"])
def test_a_deployment_that_is_not_there_is_told(client: SyncPrefectClient, world: World, name: str) -> None:
    for flow in ("train", "score"):
        deployed(client, flow)
    told = refusal("trigger", name)
    assert (str(told.args[0]), told.hint) == (f"There is no deployment of {name!r}.", "There are: score, train.")
    assert told.exit_code == 2


def test_a_deployment_may_be_named_in_full(client: SyncPrefectClient, world: World) -> None:
    deployed(client, "train")
    assert "Did you mean epochs?" in refusal("trigger", "train/train", "--set", "epoch=1").hint


def test_without_a_server_it_says_how_to_start_one_and_loads_nothing_of_a_training(world: World) -> None:
    nowhere = {"PREFECT_API_URL": "", "SENTIFLOW_PREFECT_PORT": str(free_port())}
    done, loaded = run_telling_modules("trigger", "train", world=world, **nowhere)
    assert (done.returncode, "Start `sentiflow schedule`" in done.stderr) == (3, True)
    assert not loaded & {"mlflow", "tensorflow", "keras"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--train", "61 * * * *"), "expected a cron line"),
        (
            ("--train", "every day"),
            "The schedule of train (--train or SENTIFLOW_SCHEDULE_TRAIN): expected a cron line",
        ),
        (("--timezone", "Mars/Olympus"), "--timezone: expected the name of a time zone"),
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
