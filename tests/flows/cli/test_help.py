"""What ``--help`` shows, and what the command line answers to options, fields and names that there are not."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app

GROUPS = {
    "Train": ["train", "data", "reproduce", "sweep", "baselines"],
    "Inspect": ["runs", "compare", "ui"],
    "Promote": ["promote", "rollback", "versions"],
    "Use": ["predict", "score", "serve"],
    "Operate": ["schedule", "trigger", "housekeeping", "monitor", "import"],
}
COMMANDS = [command for commands in GROUPS.values() for command in commands]


def shown(*arguments: str) -> str:
    """What the command prints at 80 columns."""
    return CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"}).stdout


def test_the_commands_stand_in_groups_and_each_takes_one_line() -> None:
    panels = re.findall(r"^╭─ (\w+) ─+╮\n((?:│.*│\n)+)", shown(), re.MULTILINE)
    found = {name: re.findall(r"^│ (\S*) +(\S.*) │$", rows, re.MULTILINE) for name, rows in panels}
    assert len(found.pop("Options")) == 5  # --version, --help and the two of completion, one of them on two lines
    assert {name: [command for command, _ in rows] for name, rows in found.items()} == GROUPS


@pytest.mark.parametrize("command", COMMANDS)
def test_types_usage_and_examples_have_one_style(command: str) -> None:
    told = shown(command)
    assert not re.search(r"<\w+|list\[|[{}]|\[\[", told)
    options, examples = told.split("Examples:")
    assert re.match(r"\n   sentiflow ", examples)
    assert all(len(line) <= 80 for line in options.splitlines())


def test_the_usage_line_marks_what_may_be_left_out() -> None:
    assert "Usage: sentiflow promote [OPTIONS] [VERSION] " in shown("promote")
    assert "Usage: sentiflow compare [OPTIONS] RUN... " in shown("compare")
    assert re.search(r"--set +-s +KEY=VALUE", shown("train"))
    assert re.search(r"--recipe +-r +TEXT ", shown("train"))
    assert re.search(r"--json  +Print JSON", shown("runs"))


@pytest.mark.parametrize(
    ("given", "told", "hint"),
    [
        ("train --epochs 3", "No such option: --epochs.", "Set a recipe field with: --set epochs=3"),
        ("train --lr=0.01", "No such option: --lr.", "Set a recipe field with: --set learning_rate=0.01"),
        ("train --dropout --debug", "No such option: --dropout.", "Set a recipe field with: --set dropout=VALUE"),
        ("predict --no", "No such option: --no.", "A text that begins with a dash goes behind --."),
        ("train --sed 3", "No such option: --sed.", "Did you mean --seed?"),
        ("runs --filtr a", "No such option: --filtr.", "Did you mean --filter?"),
        ("runs --epochs 3", "No such option: --epochs.", "All options: sentiflow runs --help"),
        ("train --set lr=0.01", "Recipe 'tuned': unknown field 'lr'.", "Did you mean learning_rate?"),
        ("train --set batch=8", "Recipe 'tuned': unknown field 'batch'.", "Did you mean batch_size?"),
        ("train --set seed=7", "Recipe 'tuned': the seed is no field of a recipe.", "Use --seed 7"),
        ("train --recipe Tuned", "No recipe is named 'Tuned'", "Did you mean tuned?"),
        ("promote --force", "--force needs a reason.", "For example: --force --reason"),
        ("versions --history --delete 1", "--history and --delete cannot be used together.", "Choose one"),
        ("monitor", "There is no log of scored and served texts", "Set SENTIFLOW_PREDICTION_LOG_DIR to a folder"),
    ],
)
def test_a_mistake_is_answered_by_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, told: str, hint: str
) -> None:
    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    monkeypatch.setattr("flows.cli.console.set_up", lambda **_: None)
    monkeypatch.setattr("flows.cli.console.filter_native_lines", lambda: None)
    result = CliRunner().invoke(app, given.split())
    assert (result.stdout, getattr(result.exception, "exit_code", 0)) == ("", 2)
    message, after = str(result.exception).split("\n")
    assert message.startswith(told) and after.startswith(hint)
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("trigger", "Missing argument 'FLOW'.\nUsage: sentiflow trigger [OPTIONS] FLOW\n"),
        ("train --seed x", "--seed: expected a whole number.\nUsage: sentiflow train [OPTIONS]\n"),
        ("train --seed", "--seed needs a value.\n"),
        ("ui --port 0", "--port: expected at least 1.\n"),
        ("promote x", "VERSION: expected a whole number.\n"),
        ("data more than that", "Unexpected: more than that.\n"),
    ],
)
def test_wrong_use_is_told_as_every_other_error(given: str, told: str) -> None:
    result = CliRunner().invoke(app, given.split(), prog_name="sentiflow")
    assert str(result.exception).startswith(told)
    assert (result.output, getattr(result.exception, "exit_code", 0)) == ("", 2)


def test_an_unknown_command_is_answered_by_the_nearest() -> None:
    assert "Did you mean 'train'" in str(CliRunner().invoke(app, ["trian"]).exception)


def test_the_version_of_the_product_is_no_models() -> None:
    assert re.fullmatch(r"sentiflow \d+\.\d+\.\d+\n", CliRunner().invoke(app, ["--version"]).stdout)
