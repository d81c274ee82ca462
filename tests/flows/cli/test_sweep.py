"""What ``sentiflow sweep`` says at its end, and when it is interrupted."""

import shlex
from types import SimpleNamespace
from typing import Any

from flows.cli import sweep as command
from sentiflow.data.table import TableOptions
from sentiflow.settings import Settings
from tests.world import World


def told(recipe: str, run_id: str, dataset: str, settings: Settings, start: str = "auto") -> list[str]:
    result: Any = SimpleNamespace(recipe=recipe, run_id=run_id)
    own = TableOptions(text_column="my review", labels={"good": 1, "bad": 0, "none": "skip"})
    table = own if "." in dataset else TableOptions()
    return [line.partition(":")[2].strip() for line in command._to_use(result, dataset, table, start, settings)]


def test_of_a_local_store_the_recipe_is_a_plain_path_and_the_command_is_whole(world: World) -> None:
    path = world.root / "with a space" / "best.toml"
    path.parent.mkdir()
    path.touch()
    place, use = told(path.as_uri(), "a" * 32, "my reviews.csv", world.settings)
    assert place == str(path)
    read = ["--text-column", "my review", "--labels", "good=1,bad=0,none=skip"]
    assert shlex.split(use)[1:] == ["train", "--recipe", str(path), "--dataset", "my reviews.csv", *read]
    _, use = told(path.as_uri(), "a" * 32, "my reviews.csv", world.settings, "none")
    assert shlex.split(use)[-2:] == ["--start-from", "none"]
