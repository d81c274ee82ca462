"""What ``sentiflow sweep`` says at its end."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flows.cli import sweep as command
from sentiflow.data.table import TableOptions


def told(recipe: str, dataset: str, table: TableOptions, start: str = "auto") -> list[str]:
    result: Any = SimpleNamespace(recipe=recipe, run_url="http://pages/run")
    return [line.partition(":")[2].strip() for line in command._to_use(result, dataset, table, start)]


def test_the_command_that_trains_the_best_recipe_is_whole() -> None:
    path = Path("/tmp/with a space/best.toml")
    own = TableOptions(text_column="my review", labels={"good": 1, "bad": 0, "none": "skip"})
    place, use = told(path.as_uri(), "my reviews.csv", own)
    assert place == str(path)
    train = ["train", "--recipe", str(path), "--dataset", "my reviews.csv"]
    assert shlex.split(use)[1:] == [*train, "--text-column", "my review", "--labels", "good=1,bad=0,none=skip"]
    assert shlex.split(told(path.as_uri(), "my.csv", own, "none")[1])[-2:] == ["--start-from", "none"]


def test_of_a_server_the_artifacts_are_named() -> None:
    place, use = told("mlflow-artifacts:/1/best.toml", "sample", TableOptions())
    assert "http://pages/run" in place and use.endswith("train --recipe best.toml --dataset sample")
