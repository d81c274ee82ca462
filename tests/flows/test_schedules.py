"""prefect.yaml against the flows and the settings."""

import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule

from flows.cli.schedule import _register
from flows.schedules import FILE, _deployment, deployments
from sentiflow.errors import UsageError
from sentiflow.operations.deployments import TAG, Deployment
from sentiflow.operations.prefect_server import Server
from sentiflow.settings import Settings
from tests.world import ROOT

ENTRIES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["deployments"]


def table(**fields: object) -> dict[str, Deployment]:
    return {each.flow: each for each in deployments(Settings(_env_file=None, **fields))}  # type: ignore[arg-type]


def test_prefect_finds_the_file_where_it_looks_for_it() -> None:
    assert (ROOT / "prefect.yaml").resolve() == FILE


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["entrypoint"]))
def test_each_entry_of_the_file_fits_its_flow(entry: dict[str, Any]) -> None:
    spec = table()[entry["entrypoint"].rpartition(".")[2]]
    flow = pkgutil.resolve_name(spec.entrypoint)
    assert entry["name"] == entry["entrypoint"].rpartition(".")[2]
    assert (entry["tags"], entry["work_pool"]) == ([TAG], {"name": TAG})
    assert flow.name == spec.flow
    known = flow.parameters.properties
    parameters = entry.get("parameters", {})
    assert set(parameters) <= set(known)
    flow.validate_parameters(dict.fromkeys(flow.parameters.required or [], "a path") | parameters)
    assert set(spec.parameters) <= set(known)


def test_without_optuna_the_schedule_runs_all_but_sweeps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flows.schedules.lacking", lambda extra: {"sweep": "optuna>=4.5"}[extra])
    assert set(table()) == {str(entry["name"]) for entry in ENTRIES} - {"sweep"}
    assert "pip install 'sentiflow[sweep]'" in capsys.readouterr().err


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["entrypoint"]))
def test_what_the_file_says_is_what_the_settings_say_by_default(entry: dict[str, Any]) -> None:
    spec = table()[entry["entrypoint"].rpartition(".")[2]]
    schedules = [CronSchedule(cron=each["cron"], timezone=each["timezone"]) for each in entry.get("schedules", [])]
    assert schedules == ([spec.schedule] if spec.schedule else [])
    assert all(each["slug"] == TAG for each in entry.get("schedules", [])), "else a redeployment makes it active"
    flow = pkgutil.resolve_name(spec.entrypoint)
    theirs, ours = (
        flow.validate_parameters({"source": "a", "output": "b"} | given if spec.flow == "score" else given)
        for given in (entry.get("parameters", {}), spec.parameters)
    )
    assert {**defaults(spec), **theirs} == {**defaults(spec), **ours}


def defaults(spec: Deployment) -> dict[str, Any]:
    properties = pkgutil.resolve_name(spec.entrypoint).parameters.properties
    return {name: each["default"] for name, each in properties.items() if "default" in each}


def test_by_default_training_is_weekly_and_cleaning_daily_and_nothing_else_runs() -> None:
    schedules = {flow: each.schedule for flow, each in table().items() if each.schedule}
    weekly, daily = (CronSchedule(cron=line, timezone="UTC") for line in ("0 3 * * 1", "0 5 * * *"))
    assert schedules == {"train": weekly, "housekeeping": daily}


def test_trainings_take_recipe_dataset_and_promotion_from_the_settings() -> None:
    made = table(schedule_dataset="sample", schedule_promote_after_train=True)
    config = {"recipe": "ngrams"}
    assert made["train"].parameters == {"config": config, "dataset": "sample", "promote": True}
    assert made["repeat"].parameters == made["train"].parameters
    assert made["sweep"].parameters == {"config": config, "dataset": "sample"}
    assert table(schedule_recipe="tutorial")["train"].parameters["config"] == {"recipe": "tutorial"}


def test_a_settings_parameters_are_checked_and_go_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"train": {"config": {"recipe": "tutorial", "epochs": 2}, "seed": 7}, "score": {"keep": ["id"]}}
    monkeypatch.setenv("SENTIFLOW_SCHEDULE_PARAMETERS", json.dumps(given | {"score": FILES}))
    made = table(schedule_dataset="sample")
    assert made["train"].parameters == {**given["train"], "dataset": "sample", "promote": False}
    assert made["score"].parameters == {"dataset": "sample", **FILES}
    monkeypatch.delenv("SENTIFLOW_SCHEDULE_PARAMETERS")
    for wrong, told in (
        ({"nightly": {}}, "no deployment 'nightly'"),
        (given, "source"),
        ({"train": {"seed": -1}}, "seed"),
        ({"train": {"sed": 1}}, "sed"),
    ):
        with pytest.raises(UsageError, match=told):
            table(schedule_parameters=wrong)


FILES = {"source": "in.csv", "output": "out.parquet"}


@pytest.mark.parametrize("named", ["reviews.csv", "reviews/", "reviews"])
def test_a_table_or_folder_of_ones_own_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "reviews").mkdir()
    monkeypatch.chdir(tmp_path)
    made = table(schedule_dataset=named)
    path = f"{tmp_path}/{named.removesuffix('/')}"
    assert made["train"].parameters["dataset"] == made["promote"].parameters["dataset"] == path


def test_a_table_of_ones_own_is_read_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"text_column": "review", "labels": {"good": 1, "bad": 0, "none": "skip"}}
    monkeypatch.setenv("SENTIFLOW_SCHEDULE_TABLE", json.dumps(given))
    defaults = {"label_column": "label", "sheet": "", "max_rejects": "1%", "split": "hash", "date_column": ""}
    read = given | defaults
    made = table(schedule_dataset="reviews.csv")
    told = {flow for flow, each in made.items() if each.parameters.get("table") == read}
    assert told == {"train", "repeat", "sweep"}
    with pytest.raises(UsageError, match="SENTIFLOW_SCHEDULE_TABLE: label"):
        table(schedule_table={"label": "stars"})


def test_beside_a_built_in_dataset_the_text_column_is_that_of_scored_tables_alone() -> None:
    made = table(schedule_dataset="sample", schedule_table={"text_column": "review"})
    assert made["score"].parameters["text_column"] == "review"
    assert not {flow for flow, each in made.items() if "table" in each.parameters}


def test_the_champion_of_the_scheduled_dataset_is_reproduced() -> None:
    assert table(schedule_dataset="/data/my Reviews.csv")["reproduce"].parameters == {
        "run": "my-reviews-sentiment@champion"
    }


def test_trainings_and_what_has_a_schedule_are_one_at_a_time() -> None:
    always = {"train", "repeat", "sweep", "reproduce", "housekeeping", "monitor"}
    assert {flow for flow, each in table().items() if each.concurrency_limit} == always
    scheduled = table(schedule_promote="every 1h")
    assert {flow for flow, each in scheduled.items() if each.concurrency_limit} == {*always, "promote"}
    three = table(schedule_trainings=3)
    assert [three[flow].concurrency_limit for flow in ("train", "repeat")] == [3, 1]


def test_a_flow_without_a_setting_has_the_schedule_of_the_file() -> None:
    entry = {
        "entrypoint": "flows.own.own",
        "description": "",
        "schedules": [{"cron": "0 4 * * *", "timezone": "UTC"}],
    }
    made = _deployment(entry, {}, Settings(_env_file=None))
    assert (made.schedule, made.concurrency_limit) == (CronSchedule(cron="0 4 * * *", timezone="UTC"), 1)


def test_the_server_of_a_running_schedule_takes_no_work_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if the next start of the schedule found its deployments with a pool, and refused them."""
    own = Server("http://127.0.0.1:4200", "sentiflow:secret")
    monkeypatch.setattr("sentiflow.operations.prefect_server.connect_to_running", lambda _settings: own)
    with pytest.raises(UsageError, match="runs the deployments of its Prefect server itself"):
        _register([], "team", Settings(_env_file=None))


@pytest.mark.parametrize(("flow", "needs"), [("score", "source"), ("monitor", "a log of the texts")])
def test_a_schedule_that_lacks_what_it_needs_is_refused(flow: str, needs: str) -> None:
    with pytest.raises(UsageError, match=needs):
        table(**{f"schedule_{flow}": "every 1h"})
