import importlib
from pathlib import Path

import pytest

from flows.deployments import deployments
from sentiflow.errors import UsageError
from sentiflow.orchestration.deployments import Deployment, Schedule
from sentiflow.orchestration.flow_runs import FLOWS
from sentiflow.recipes import TUNED, load_recipe
from sentiflow.settings import Settings
from tests.world import ROOT


def table(**fields: object) -> dict[str, Deployment]:
    return {each.flow: each for each in deployments(Settings(_env_file=None, **fields))}  # type: ignore[arg-type]


def test_housekeeping_knows_every_flow() -> None:
    flows = {path.stem for path in (ROOT / "flows").glob("*.py") if "@flow(" in path.read_text()}
    assert set(FLOWS) == flows


def test_by_default_training_is_weekly_and_cleaning_daily_and_nothing_else_runs() -> None:
    schedules = {flow: each.schedule for flow, each in table().items() if each.schedule}
    assert schedules == {"train": Schedule(cron="0 3 * * 1"), "housekeeping": Schedule(cron="0 5 * * *")}


def test_training_takes_recipe_dataset_and_promotion_from_the_settings() -> None:
    train = table(schedule_dataset="sample", schedule_promotes=True)["train"]
    assert train.parameters == {
        "config": TUNED.model_dump(mode="json"), "dataset": "sample", "seed": 0, "promote": True,
    }  # fmt: skip
    (changed,) = (
        each for each in deployments(Settings(_env_file=None, schedule_recipe="seed"), ["epochs=2"])
        if each.flow == "train"
    )  # fmt: skip
    assert changed.parameters["config"] == load_recipe("seed", ["epochs=2"]).model_dump(mode="json")


def test_a_table_of_ones_own_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = table(schedule_dataset="reviews.csv")
    assert (
        made["train"].parameters["dataset"] == made["promote"].parameters["dataset"] == f"{tmp_path}/reviews.csv"
    )
    (trigger,) = made["train"].triggers
    assert trigger.resource == "sentiflow.model.reviews-sentiment"


def test_only_trainings_are_one_at_a_time() -> None:
    assert {flow for flow, each in table().items() if each.concurrency_limit} == {
        "train", "repeat", "sweep", "housekeeping", "monitor",
    }  # fmt: skip


def test_a_drift_of_the_model_starts_a_training_that_meets_the_gate() -> None:
    (trigger,) = table(schedule_dataset="sample")["train"].triggers
    assert (trigger.event, trigger.resource) == ("sentiflow.drift", "sentiflow.model.sample-sentiment")
    assert trigger.parameters == {"promote": True}


@pytest.mark.parametrize(
    ("flow", "needs"), [("score", "an input and an output"), ("monitor", "a log of the texts")]
)
def test_a_schedule_that_lacks_what_it_needs_is_refused(flow: str, needs: str) -> None:
    with pytest.raises(UsageError, match=needs):
        table(**{f"schedule_{flow}": "every 1h"})


def test_what_they_need_is_enough(tmp_path: Path) -> None:
    made = table(
        schedule_score="every 1h", schedule_source=tmp_path / "in.csv", schedule_output=tmp_path / "out.parquet",
        schedule_monitor="every 1h", text_log=tmp_path / "texts",
    )  # fmt: skip
    assert made["score"].parameters == {"source": f"{tmp_path}/in.csv", "output": f"{tmp_path}/out.parquet"}
    assert made["monitor"].schedule is not None


@pytest.mark.parametrize("flow", table())
def test_each_entry_point_is_a_flow_of_that_name_with_those_parameters(flow: str) -> None:
    spec = table()[flow]
    module, _, name = spec.entrypoint.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert found.name == flow
    assert set(spec.parameters) <= set(found.parameters.model_dump()["properties"])
