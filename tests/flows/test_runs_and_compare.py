"""``sentiflow runs`` and ``sentiflow compare``, as a user types them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from flows.cli.app import app
from sentiflow.errors import UsageError
from sentiflow.tracking.client import connect
from tests.world import Registry, World

Type = Callable[..., Result]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command in this process; its output has no width."""
    monkeypatch.setattr("flows.cli.console.set_up", lambda **_: None)

    def type_in(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, catch_exceptions=True)

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
    lines = typed("runs").output.splitlines()
    assert lines[0].split() == ["id", "name", "kind", "when", "accuracy", "95%", "interval", "seconds", "version"]
    data = connect(registry.settings).get_run(run_ids[Registry.NEWEST]).data
    assert lines[1].startswith(run_ids[Registry.NEWEST][:8])
    for told in (f"{data.metrics['test/accuracy']:.2%}", f"{float(data.tags['time.total']):.0f}", " v3"):
        assert told in lines[1]
    assert len(lines) == 1 + 3


def test_filters_and_sorting_work_on_a_real_store(typed: Type, run_ids: dict[int, str]) -> None:
    assert typed("runs", "--filter", "learning_rate=1e-4").output.splitlines()[1].startswith(run_ids[2][:8])
    by_loss = typed("runs", "--sort", "-test/loss", "-n", "1", "--columns", "test/loss,params.epochs")
    assert by_loss.output.splitlines()[1].startswith(run_ids[Registry.POOR][:8])
    assert by_loss.output.splitlines()[0].split()[-2:] == ["test/loss", "params.epochs"]
    assert "None of 3 runs is like this" in typed("runs", "--since", "2999-01-01").output


def test_a_wrong_name_is_refused(typed: Type, run_ids: dict[int, str]) -> None:
    refused = typed("runs", "--sort", "test/accurcy")
    assert isinstance(refused.exception, UsageError)
    assert "test/accuracy" in refused.exception.hint
    assert isinstance(typed("runs", "--columns", "nothing").exception, UsageError)


def test_json_holds_what_the_store_holds(typed: Type, registry: World, run_ids: dict[int, str]) -> None:
    client = connect(registry.settings)
    client.log_metric(run_ids[1], "odd/figure", float("nan"))
    told = json.loads(typed("runs", "--json").output)
    assert [run["id"] for run in told] == [run_ids[3], run_ids[2], run_ids[1]]
    oldest, data = told[-1], client.get_run(run_ids[1]).data
    assert oldest["metrics"] == {**data.metrics, "odd/figure": None}
    assert oldest["params"] == data.params
    assert (oldest["version"], oldest["kind"], oldest["children"]) == ("sample-sentiment v1", "training", 0)
    assert json.loads(typed("runs", "--json", "--since", "2999-01-01").output) == []


def test_children_stand_below_their_parent_and_are_counted(
    typed: Type, registry: World, run_ids: dict[int, str]
) -> None:
    client = connect(registry.settings)
    for number in (1, 2):
        client.set_tag(run_ids[number], "mlflow.parentRunId", run_ids[3])
    alone = typed("runs").output.splitlines()
    assert len(alone) == 2 and "training (2)" in alone[1]
    below = typed("runs", "--children").output.splitlines()
    assert [line[:8] for line in below[1:]] == [run_ids[number][:8] for number in (3, 1, 2)]
    assert [" - " in line for line in below[1:]] == [False, True, True]
    assert [line[:8] for line in typed("runs", "--children", "--sort", "started").output.splitlines()[1:]] == [
        run_ids[number][:8] for number in (1, 2, 3)
    ]


def test_what_is_below_runs_that_are_themselves_below_others_is_listed_too(
    typed: Type, registry: World, run_ids: dict[int, str]
) -> None:
    client = connect(registry.settings)
    client.set_tag(run_ids[2], "mlflow.parentRunId", run_ids[1])
    client.set_tag(run_ids[3], "mlflow.parentRunId", run_ids[2])
    lines = typed("runs", "--children").output.splitlines()[1:]
    assert [line[:8] for line in lines] == [run_ids[number][:8] for number in (1, 2, 3)]
    assert [line[10:].index("tutorial") for line in lines] == [0, 2, 4]


def test_when_only_runs_below_others_are_like_it_they_are_counted(
    typed: Type, registry: World, run_ids: dict[int, str]
) -> None:
    client = connect(registry.settings)
    asked = ("--filter", "learning_rate=1e-4")
    client.set_tag(run_ids[Registry.POOR], "mlflow.parentRunId", run_ids[1])
    told = (
        "None of the runs at the top is like this, but 1 run below another is. To list them, too, add --children"
    )
    assert told in typed("runs", *asked).output
    assert run_ids[Registry.POOR][:8] in typed("runs", *asked, "--children").output
    client.set_tag(run_ids[3], "mlflow.parentRunId", run_ids[1])
    assert "but 2 runs below others are." in typed("runs", "--filter", f"id!={run_ids[1]}").output
    client.delete_run(run_ids[1])
    assert run_ids[Registry.POOR][:8] in typed("runs").output  # its parent is gone: it stands alone


@pytest.mark.parametrize(("day", "before"), [("2025-07-01", 22), ("2025-01-01", 23)])
def test_a_day_begins_when_it_began_on_the_clocks_of_its_season(
    typed: Type, registry: World, run_ids: dict[int, str], monkeypatch: pytest.MonkeyPatch, day: str, before: int
) -> None:
    """Two runs a minute before and after the midnight of Berlin, whose clocks are two hours ahead in summer."""
    midnight = datetime.fromisoformat(f"{day}T00:00+00:00") - timedelta(hours=24 - before)
    client = connect(registry.settings)
    for name, minutes in (("early", -1), ("late", 1)):
        began = int((midnight + timedelta(minutes=minutes)).timestamp() * 1000)
        client.create_run("1", start_time=began, run_name=name)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        output = typed("runs", "--since", day).output
    time.tzset()
    assert " late " in output and " early " not in output


def test_a_comparison_counts_the_reviews_as_a_hand_would(
    typed: Type, registry: World, run_ids: dict[int, str], tmp_path: Path
) -> None:
    told = json.loads(typed("compare", "sample-sentiment/1", run_ids[2][:10], run_ids[3], "--json").output)
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
                                  "learning_rate": ["0.001", "0.0001", "0.001"]}  # fmt: skip
    accuracy = told["metrics"]["test/accuracy"][0]
    assert accuracy["value"] == right[1].mean()
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]


def test_the_printed_comparison_shows_only_what_differs_and_a_verdict(
    typed: Type, run_ids: dict[int, str]
) -> None:
    output = typed("compare", run_ids[1], run_ids[2]).output
    assert "learning_rate" in output and "batch_size" not in output
    held = next(line for line in reversed(output.splitlines()) if line.startswith("2 "))
    assert held.split()[1].startswith("-") and held.rstrip().endswith("worse")
    assert "test_slices/short" not in output
    assert "test_slices/short" in typed("compare", run_ids[1], run_ids[2], "--all").output


def test_another_digest_cannot_be_paired_and_is_said(
    typed: Type, registry: World, run_ids: dict[int, str]
) -> None:
    connect(registry.settings).set_tag(run_ids[2], "dataset.digest", "f" * 64)
    output = typed("compare", run_ids[1], run_ids[2]).output
    assert "2 is not paired with 1: tested on other reviews (sample ffffffff and sample " in output
    assert "McNemar" not in output


def test_a_parent_stands_for_its_children(typed: Type, registry: World, run_ids: dict[int, str]) -> None:
    client = connect(registry.settings)
    client.set_tag(run_ids[3], "kind", "repeats")
    for number in (1, 2):
        client.set_tag(run_ids[number], "mlflow.parentRunId", run_ids[3])
    told = json.loads(typed("compare", run_ids[3], "--json").output)
    assert [run["id"] for run in told["runs"]] == [run_ids[1], run_ids[2]]


def test_a_run_named_twice_is_no_comparison(typed: Type, run_ids: dict[int, str]) -> None:
    refused = typed("compare", *(run_ids[number] for number in (1, 2, 1)))
    assert isinstance(refused.exception, UsageError)
    assert "named twice" in str(refused.exception.args[0])


def test_listing_and_comparing_import_neither_mlflow_nor_pandas(registry: World, run_ids: dict[int, str]) -> None:
    """They take seconds; so the commands would."""
    script = (
        "import sys; from flows.cli.app import app; app(sys.argv[1:], standalone_mode=False);"
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
