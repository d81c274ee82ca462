import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from flows.cli.main import application
from sentiflow.locks import training_lock
from sentiflow.store.client import connect
from sentiflow.store.find import open_store
from tests.world import ROOT, Trained, World, refusal, telling_modules

COMMANDS = get_command(application()).commands  # type: ignore[attr-defined]
SLOW = {"mlflow", "prefect", "tensorflow", "pandas", "sklearn", "scipy", "matplotlib", "numpy", "pyarrow"}
QUICK = ("--set", "epochs=1", "--set", "sequence_length=20", "--set", "units=4")


def run_telling_modules(
    *arguments: str, world: World, **variables: str
) -> tuple["subprocess.CompletedProcess[str]", set[str]]:
    """Run a command in a process of its own; gives also the top-level modules that it has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", telling_modules(*arguments)],
        env=world.environment(**variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done, set(json.loads(done.stdout.splitlines()[-1]))


def test_help_names_all_commands_and_loads_nothing_slow(world: World) -> None:
    done, loaded = run_telling_modules("--help", world=world)
    assert all(re.search(rf"^│ {command} ", done.stdout, re.MULTILINE) for command in COMMANDS)
    assert not loaded & SLOW


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_examples(command: str) -> None:
    done = CliRunner().invoke(application(), [command, "--help"])
    assert done.exit_code == 0
    assert f"sentiflow {command}" in done.output.split("Examples")[1]


@pytest.mark.parametrize("arguments", [["train"], ["train", "--repeats", "2"], ["sweep"]])
def test_a_training_learns_of_another_one_before_anything_is_started(world: World, arguments: list[str]) -> None:
    with training_lock("sample-sentiment", world.settings):
        done, loaded = run_telling_modules(*arguments, "--dataset", "sample", world=world)
    assert done.returncode == 3
    assert f"Another training of sample-sentiment is running: training, process {os.getpid()} on " in done.stderr
    assert "Prefect" not in done.stderr
    assert not loaded & {"mlflow", "prefect", "tensorflow"}


def test_predict_answers_with_label_score_and_version_and_loads_nothing_slow(trained: Trained) -> None:
    texts = ("The acting was dull and wooden.", "The direction was touching and at times rewarding.")
    done, loaded = run_telling_modules("predict", *texts, world=trained.world)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"negative  0\.\d{4}  The acting was dull and wooden\.", lines[0])
    assert re.fullmatch(r"positive  0\.\d{4}  The direction was touching and at times rewarding\.", lines[1])
    assert lines[2] == "sample-sentiment version 1 (newest, no champion yet)"
    assert not loaded & {"mlflow", "prefect", "tensorflow", "keras", "pandas", "sklearn"}


def test_data_shows_counts_shapes_lengths_balance_and_the_first_review(world: World) -> None:
    done = world.run("data", "--dataset", "sample")
    assert done.returncode == 0, done.stderr
    for wanted in (
        r"reviews +4,800 +1,000",
        r"positive +50\.00% +50\.00%",
        r"shape padded to 500 +\(4800, 500\) +\(1000, 500\)",
        r"longer than 500, cut +0\.00% +0\.00%",
        r"median length +\d+ +\d+",
        r"^\[1, [\d, ]+\]$",
        r"^\? [a-z' ]+$",
    ):
        assert re.search(wanted, done.stdout, re.MULTILINE), wanted


def test_an_unreachable_dataset_ends_with_3_and_never_falls_back(
    world: World, prefect_server: None, unreachable_imdb: None
) -> None:
    error = refusal("train")
    assert error.exit_code == 3
    assert "Cannot download http://127.0.0.1:9/imdb.npz" in str(error)
    assert "--dataset sample" in error.hint and "SENTIFLOW_IMDB_URL" in error.hint
    assert [run.status for run in open_store(world.settings).runs()] == ["FAILED"]


@pytest.mark.story
def test_or_sample_says_so_in_plain_words_and_writes_only_where_the_settings_say(
    world: World, prefect_server: None
) -> None:
    beside_the_code = sorted(ROOT.iterdir())
    done = world.run(
        "train",
        "--fallback-sample",
        *QUICK,
        SENTIFLOW_IMDB_URL=str(world.root / "missing.npz"),
        SENTIFLOW_IMDB_SHA256="0" * 64,
    )
    assert done.returncode == 0, done.stderr
    assert "The dataset imdb cannot be fetched" in done.stderr
    assert "Registered as sample-sentiment version 1" in done.stdout
    assert "Test accuracy" in done.stdout
    assert sorted(ROOT.iterdir()) == beside_the_code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recipe", "sed"], "there are: fitted, large, ngrams, tuned, tutorial"),
        (["--recipe", "mine.toml"], "Cannot read the recipe mine.toml: No such file or directory."),
        (["--set", "epochs=0"], "greater than or equal to 1"),
        (["--set", "learning_rate=nan"], "finite number"),
        (["--dataset", "nothing.csv"], "No dataset or table 'nothing.csv'"),
    ],
)
def test_wrong_use_is_refused_in_a_sentence(world: World, arguments: list[str], told: str) -> None:
    error = refusal("train", *arguments)
    assert (error.exit_code, told in str(error)) == (2, True), error
    assert not list((world.root / "data").glob("**/*.parquet"))


@pytest.mark.parametrize("command", ["train", "sweep", "data"])
def test_a_table_is_checked_before_anything_slow_is_imported_or_begun(world: World, command: str) -> None:
    """Red if a mistake in a table cost the start of Prefect's server, or left a failed run."""
    path, store = world.root / "mine.csv", world.root / "mlruns" / "mlflow.db"
    path.write_text("review,stars\nfine film,good\n,bad\n")
    before = store.read_bytes()
    mapped = ("--text-column", "Review", "--label-column", "stars")
    done, loaded = run_telling_modules(command, "--dataset", str(path), *mapped, world=world)
    assert done.returncode == 2
    assert "2 of 2 rows are rejected" in done.stderr and "line 2 ('good')" in done.stderr
    assert "no text (1 row): line 3" in done.stderr and "Prefect" not in done.stderr
    assert not loaded & {"mlflow", "prefect", "tensorflow"}
    assert store.read_bytes() == before


@pytest.mark.story
def test_a_table_of_ones_own_trains_and_predicts(world: World, prefect_server: None) -> None:
    words = np.array(["plot", "music", "cast", "ending"])
    labels = {"great": "up", "poor": "down"}
    rows = [f'"the {words[i % 4]} number {i} was {w}",{y}' for i in range(40) for w, y in labels.items()]
    rows += ["the end,so-so", "the start,so-so"]
    (world.root / "my reviews.csv").write_text("review,label\n" + "\n".join([*rows, ",up"]))
    read = ("--text-column", "review", "--labels", "up=1,down=0,so-so=skip", "--max-rejects", "2%")
    done = world.run("train", "--dataset", "my reviews.csv", *read, *QUICK)
    assert done.returncode == 0, done.stderr
    (rejects,) = (world.settings.data_dir / "datasets" / "my-reviews" / "rejects").iterdir()
    assert f"1 of 81 rows rejected (1 no text): {rejects}" in done.stderr
    assert "2 rows left out (label so-so)" in done.stderr
    (run,) = connect(world.settings).search_runs(["1"])
    told = {name: value for name, value in run.data.params.items() if name.startswith("table.")}
    assert told == {
        "table.text_column": "review", "table.label_column": "label", "table.max_rejects": "2%",
        "table.labels": "{'up': 1, 'down': 0, 'so-so': 'skip'}", "table.rejected": "1", "table.left_out": "2",
        "table.name_of_0": "down", "table.name_of_1": "up",
        "table.tables": "1", "table.repeated": "0", "table.relabelled": "0",
        "table.sheet": "", "table.split": "hash", "table.date_column": "",
    }  # fmt: skip
    assert "Registered as my-reviews-sentiment version 1" in done.stdout
    answer = world.run("predict", "--dataset", "my reviews.csv", "great music")
    assert (answer.returncode, answer.stdout.split()[0] in ("up", "down")) == (0, True)


def test_a_data_folder_that_cannot_be_made_ends_with_3_before_a_server_starts(world: World) -> None:
    (world.root / "file").write_text("in the way")
    done = world.run("train", "--dataset", "sample", SENTIFLOW_DATA_DIR=str(world.root / "file" / "data"))
    assert done.returncode == 3
    assert "Error: Not a directory: " in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("Error: ") == 1
    assert "temporary server" not in done.stderr
    assert connect(world.settings).search_model_versions() == []


def test_a_tracking_server_that_is_down_ends_with_3(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", "http://127.0.0.1:9")
    error = refusal("train", "--dataset", "sample")
    assert error.exit_code == 3
    assert "http://127.0.0.1:9 failed: it does not answer" in str(error)


@pytest.mark.story
def test_a_prefect_server_that_is_down_ends_with_3(world: World) -> None:
    done = world.run("train", "--dataset", "sample", *QUICK, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 3
    assert "Prefect server does not answer" in done.stderr
    assert "unset PREFECT_API_URL" in done.stderr
