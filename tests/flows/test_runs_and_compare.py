"""``sentiflow runs`` and ``sentiflow compare``, as a user types them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from flows.cli.main import application
from sentiflow.store.client import connect
from tests.world import Registry, World

Type = Callable[..., Result]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command in this process; its output has no width."""
    monkeypatch.setattr("flows.cli.output.set_up", lambda **_: None)

    def type_in(*arguments: str) -> Result:
        return CliRunner().invoke(application(), arguments, catch_exceptions=True)

    return type_in


@pytest.fixture
def run_ids(registry: World) -> dict[int, str]:
    """Ids of the runs of the three versions."""
    client = connect(registry.settings)
    versions = client.search_model_versions("name = 'sample-sentiment'")
    return {int(version.version): str(version.run_id) for version in versions}


def test_the_table_names_each_run_its_accuracy_and_its_version(
    typed: Type, registry: World, run_ids: dict[int, str]
) -> None:
    lines = typed("runs").stdout.splitlines()
    assert lines[0].split() == ["id", "name", "dataset", "accuracy", "version", "started"]
    data = connect(registry.settings).get_run(run_ids[Registry.NEWEST]).data
    assert lines[1].startswith(run_ids[Registry.NEWEST][:8])
    assert f"{data.metrics['test/accuracy']:.2%}" in lines[1] and " v3 " in lines[1]
    assert len(lines) == 1 + 3


def test_a_parent_shows_the_version_that_a_run_below_it_made(
    typed: Type, registry: World, run_ids: dict[int, str]
) -> None:
    client = connect(registry.settings)
    parent = client.create_run("1", run_name="tuned-sample-seeds0to1-251125-184954", tags={"kind": "repeats"})
    client.set_tag(run_ids[Registry.GOOD], "mlflow.parentRunId", parent.info.run_id)

    def shown() -> list[str | None]:
        found = {run["id"]: run["version"] for run in json.loads(typed("runs", "--json", "--children").stdout)}
        return [found[parent.info.run_id], found[run_ids[Registry.GOOD]]]

    version = f"sample-sentiment/{Registry.GOOD}"
    assert shown() == [None, version]  # a parent that runs or was killed shows that
    client.set_terminated(parent.info.run_id)
    assert shown() == [version, version]


def test_json_holds_what_the_store_holds(typed: Type, registry: World, run_ids: dict[int, str]) -> None:
    client = connect(registry.settings)
    client.log_metric(run_ids[1], "odd/figure", float("nan"))
    told = json.loads(typed("runs", "--json").stdout)
    assert [run["id"] for run in told] == [run_ids[3], run_ids[2], run_ids[1]]
    oldest, data = told[-1], client.get_run(run_ids[1]).data
    assert oldest["metrics"] == {**data.metrics, "odd/figure": None}
    assert oldest["params"] == data.params
    assert (oldest["version"], oldest["kind"], oldest["children"]) == ("sample-sentiment/1", "training", 0)
    assert json.loads(typed("runs", "--json", "--since", "2999-01-01").stdout) == []


def test_children_stand_below_their_parent_and_are_counted(
    typed: Type, registry: World, run_ids: dict[int, str]
) -> None:
    client = connect(registry.settings)
    for number in (1, 2):
        client.set_tag(run_ids[number], "mlflow.parentRunId", run_ids[3])
    assert len(typed("runs").stdout.splitlines()) == 2
    assert json.loads(typed("runs", "--json").stdout)[0]["children"] == 2
    below = typed("runs", "--children").stdout.splitlines()
    assert [line[:8] for line in below[1:]] == [run_ids[number][:8] for number in (3, 1, 2)]
    assert [" - " in line for line in below[1:]] == [False, True, True]
    assert [line[:8] for line in typed("runs", "--children", "--sort", "started").stdout.splitlines()[1:]] == [
        run_ids[number][:8] for number in (1, 2, 3)
    ]


def test_a_comparison_counts_the_reviews_as_a_hand_would(
    typed: Type, registry: World, run_ids: dict[int, str], tmp_path: Path
) -> None:
    told = json.loads(typed("compare", "sample-sentiment/1", run_ids[2][:10], run_ids[3], "--json").stdout)
    client = connect(registry.settings)
    right = {}
    for number, run_id in run_ids.items():
        table = pd.read_parquet(client.download_artifacts(run_id, "test_scores.parquet", str(tmp_path)))
        right[number] = ((table["score"] > 0.5) == (table["label"] == 1)).set_axis(table["review_id"])
    assert [run["id"] for run in told["runs"]] == [run_ids[number] for number in (1, 2, 3)]
    for number, held in zip((2, 3), told["against_the_first"], strict=True):
        gained, lost = (right[number] & ~right[1]).sum(), (right[1] & ~right[number]).sum()
        assert (held["paired"]["gained"], held["paired"]["lost"]) == (gained, lost)
        assert held["difference"] == pytest.approx((gained - lost) / len(right[1]))
        assert held["low"] <= held["difference"] <= held["high"]
    assert told["parameters"] == {"seed": ["4", "4", "5"], "epochs": ["5", "1", "5"],
                                  "mask_zero": ["False", "False", "True"],
                                  "learning_rate": ["0.001", "0.0001", "0.001"]}  # fmt: skip
    accuracy = told["metrics"]["test/accuracy"][0]
    assert accuracy["value"] == right[1].mean()
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]


def test_the_printed_comparison_shows_only_what_differs_and_a_verdict(
    typed: Type, run_ids: dict[int, str]
) -> None:
    output = typed("compare", run_ids[1], run_ids[2]).stdout
    assert "learning_rate" in output and "batch_size" not in output
    held = [line.split() for line in output.splitlines() if line.rstrip().endswith("worse")]
    assert len(held) == 1 and held[0][:2] == ["run", "2"]


def test_listing_and_comparing_import_neither_mlflow_nor_pandas(registry: World, run_ids: dict[int, str]) -> None:
    """They take seconds; so the commands would."""
    script = (
        "import sys; from flows.cli.main import application; application()(sys.argv[1:], standalone_mode=False);"
        "sys.exit(', '.join({'mlflow', 'pandas', 'prefect', 'tensorflow', 'sklearn'} & set(sys.modules)) or 0)"
    )
    for arguments in (("runs",), ("compare", run_ids[1], run_ids[2])):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=registry.environment(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
