"""What ``sentiflow sweep`` says at its end."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flows.cli import sweep as command


def told(recipe: str, dataset: str) -> list[str]:
    result: Any = SimpleNamespace(recipe=recipe, run_url="http://pages/run")
    return [line.partition(":")[2].strip() for line in command._to_use(result, dataset)]


def test_of_a_local_store_the_recipe_is_a_plain_path_and_of_a_server_the_artifacts_are_named() -> None:
    path = Path("/tmp/with a space/best.toml")
    place, use = told(path.as_uri(), "my reviews.csv")
    assert place == str(path)
    train = ["train", "--recipe", str(path), "--dataset", "my reviews.csv"]
    assert shlex.split(use.partition("   ")[0])[1:] == train
    place, use = told("mlflow-artifacts:/1/best.toml", "sample")
    assert "http://pages/run" in place and "--recipe best.toml --dataset sample" in use
