"""What ``--help`` shows, and what the command line answers to options, fields and names that there are not."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import application

GROUPS = {
    "Train": ["train", "data", "sweep", "reproduce"],
    "Inspect": ["runs", "compare", "ui"],
    "Promote": ["promote", "rollback", "versions"],
    "Use": ["predict", "score", "serve"],
    "Operate": ["schedule", "trigger", "housekeeping", "monitor", "label"],
}


def shown(*arguments: str) -> str:
    """What the command prints at 80 columns."""
    return CliRunner().invoke(application(), [*arguments, "--help"], env={"COLUMNS": "80"}).stdout


def test_the_commands_stand_in_groups_and_each_takes_one_line() -> None:
    panels = re.findall(r"^╭─ (\w+) ─+╮\n((?:│.*│\n)+)", shown(), re.MULTILINE)
    found = {name: re.findall(r"^│ (\S*) +(\S.*) │$", rows, re.MULTILINE) for name, rows in panels}
    del found["Options"]
    assert {name: [command for command, _ in rows] for name, rows in found.items()} == GROUPS


@pytest.mark.parametrize(
    ("given", "told", "hint"),
    [
        ("train --set layer=lstm", "Recipe 'ngrams': unknown field 'layer'", "A recipe's cell is a SimpleRNN"),
        ("train --set rate=0.01", "Recipe 'ngrams': unknown field 'rate'.", "Fields: recipe, vocabulary_size"),
        ("train --set batch=8", "Recipe 'ngrams': unknown field 'batch'.", "Did you mean batch_size?"),
        ("train --set lr=0.1", "Recipe 'ngrams': unknown field 'lr'.", "Did you mean learning_rate?"),
        ("train --set seed=7", "Recipe 'ngrams': the seed is not a field of a recipe.", "Use --seed 7"),
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
    monkeypatch.setattr("flows.cli.output.set_up", lambda **_: None)
    result = CliRunner().invoke(application(), given.split())
    assert (result.stdout, getattr(result.exception, "exit_code", 0)) == ("", 2)
    message, after = str(result.exception).split("\n")
    assert message.startswith(told) and after.startswith(hint)
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("trigger", "FLOW"),
        ("train --seed x", "--seed"),
        ("train --seed", "--seed"),
        ("train --sed 3", "--seed"),
        ("train --dataet x", "--dataset"),
        ("runs --epochs 3", "--epochs"),
        ("ui --port 0", "--port"),
        ("promote x", "VERSION"),
        ("data more", "more"),
        ("trian", "train"),
    ],
)
def test_wrong_use_ends_with_2_and_names_what_is_wrong(given: str, named: str) -> None:
    result = CliRunner().invoke(application(), given.split())
    assert (result.stdout, result.exit_code, named in result.stderr) == ("", 2, True)


def test_the_version_of_the_product_is_no_models() -> None:
    shown = CliRunner().invoke(application(), ["--version"]).stdout
    assert re.fullmatch(r"sentiflow \d+\.\d+\.\d+(rc\d+)?\n", shown)
