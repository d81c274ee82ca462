"""What ``sentiflow sweep`` says at its end, and when it is interrupted."""

import shlex
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from flows.cli import sweep as command
from sentiflow import process
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions
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


@pytest.fixture
def interrupted(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a sweep that is interrupted; gives what it says. Whether it keeps a study is asked for."""

    def run(*, keeps: bool, restart: bool = False) -> str:
        def sweep(*_: object, **__: object) -> None:
            if keeps:
                study = world.root / "data" / "sweeps" / "sample-sentiment" / "a" / "b" / "study.db"
                study.parent.mkdir(parents=True, exist_ok=True)
                study.write_text("{}\n")
            raise KeyboardInterrupt

        monkeypatch.setattr("flows.sweep.sweep", sweep)
        monkeypatch.setattr(command, "start_up", lambda *_, **__: lambda: None)
        monkeypatch.setattr(process, "first_signal", lambda: signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            command.sweep(dataset="sample", table=DEFAULT_OPTIONS, restart=restart)
        return capsys.readouterr().err

    return run


def test_an_interrupted_sweep_says_that_the_same_command_goes_on(interrupted: Any) -> None:
    assert "The same command resumes this sweep" in interrupted(keeps=True)
    assert "The same command, without --restart, resumes" in interrupted(keeps=True, restart=True)


def test_without_a_study_there_is_nothing_to_go_on_with_and_nothing_is_said(interrupted: Any) -> None:
    assert interrupted(keeps=False) == ""
