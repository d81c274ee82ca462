"""A run trained again: identical, or what differs."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flows.train import reproduce, train
from sentiflow.data.table import TableOptions
from sentiflow.errors import ExternalError, RejectedError, UsageError
from sentiflow.promotion.candidate import evaluate_candidate
from sentiflow.reproduction import find_original
from sentiflow.store.client import connect
from sentiflow.store.records import SCORER_DIGEST
from sentiflow.training.recipes import load_recipe
from tests.receiver import receiver
from tests.world import ROOT, Trained, World, copy_world

NAME = "sample-sentiment"
QUICK = load_recipe("tutorial", ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4"])


@pytest.fixture
def copied(tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of the store with one version of the sample's model."""
    made = copy_world(tmp_path, trained.world)
    made.enter(monkeypatch)
    return made


def edit(world: World, sql: str, *values: str) -> None:
    with closing(sqlite3.connect(str(world.settings.sqlite_file))) as database, database:
        database.execute(sql, values)


def test_the_same_again_is_identical_and_the_version_and_the_run_say_so(copied: World) -> None:
    client = connect(copied.settings)
    client.set_registered_model_alias(NAME, "champion", "1")
    result = reproduce(f"{NAME}@champion")
    assert result.identical
    version = client.get_model_version(NAME, "1")
    run = client.get_run(result.run_id)
    assert version.tags["reproduced"] == "identical"
    assert version.tags["reproduced.digest"] == version.tags[SCORER_DIGEST] == run.data.tags[SCORER_DIGEST]
    assert (run.data.tags["kind"], run.data.tags["reproduces"]) == ("reproduction", version.run_id)
    assert "identical, bit for bit" in run.data.tags["mlflow.note.content"] and run.info.status == "FINISHED"
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
    listed = copied.run("versions", "--dataset", "sample").stdout
    assert [line for line in listed.splitlines() if " champion " in line and " identical " in line]
    assert "reproduction:sample-sentiment@champion" in copied.run("runs").stdout


@pytest.mark.story
def test_another_outcome_fails_the_flow_run_and_stands_on_the_version(
    copied: World, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, client = trained.result.run_id, connect(copied.settings)
    edit(copied, "UPDATE params SET value = '0.002' WHERE key = 'learning_rate' AND run_uuid = ?", run_id)
    with receiver() as got, pytest.raises(RejectedError) as caught:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        reproduce(run_id)
    (again,) = client.search_runs(["1"], "tags.kind = 'reproduction'")
    assert caught.value.hint == f"Look at both: sentiflow compare {run_id[:8]} {again.info.run_id[:8]}"
    assert client.get_model_version(NAME, "1").tags["reproduced"] == "different"
    (message,) = got.messages
    assert (message["event"], message["flow"]) == ("failed", "reproduce")


@pytest.mark.story
def test_the_table_of_then_is_trained_on_though_its_file_has_changed(world: World, prefect_server: None) -> None:
    options = TableOptions(text_column="review", labels={"good": 1, "bad": 0, "so-so": "skip"})
    file = world.root / "mine.csv"
    rows = "".join(f"good {i} film,good\nbad {i} film,bad\n" for i in range(30)) + "some film,so-so\n"
    file.write_text("review,label\n" + rows)
    trained = train(QUICK, str(file), 0, table=options)
    file.write_text("review,label\n" + rows + "another good film,good\n")
    client = connect(world.settings)
    assert reproduce(trained.run_id[:8]).identical
    file.unlink()
    for kept in (world.root / "data" / "datasets").rglob("*.parquet"):
        kept.unlink()
    before = len(client.search_runs(["1"]))
    with pytest.raises(ExternalError, match="cannot be had: its digest is") as caught:
        reproduce(trained.run_id)
    assert str(file) in str(caught.value) and "SENTIFLOW_DATA_DIR" in caught.value.hint
    assert len(client.search_runs(["1"])) == before


def test_a_version_that_was_not_reproduced_with_its_weights_is_refused_where_that_is_asked_for(
    copied: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, settings = connect(copied.settings), copied.settings.model_copy(update={"gate_reproduced": True})

    def failures() -> list[str]:
        return [rule.name for rule in evaluate_candidate(NAME, 1, settings).decision.failures]

    refused = evaluate_candidate(NAME, 1, settings)
    assert failures() == ["reproduced"] and f"sentiflow reproduce {NAME}/1" in refused.way_out
    digest = client.get_model_version(NAME, "1").tags["mlflow.sentiflow.scorer.digest"]
    for name, value in (("reproduced.digest", digest), ("reproduced", "identical")):
        client.set_model_version_tag(NAME, "1", name, value)
    assert failures() == []
    client.set_model_version_tag(NAME, "1", "reproduced", "different")
    assert failures() == ["reproduced"]
    client.set_model_version_tag(NAME, "1", "reproduced", "identical")
    client.set_model_version_tag(NAME, "1", "reproduced.digest", "of other weights")
    assert failures() == ["reproduced"]


def test_what_cannot_be_compared_is_refused_before_anything_is_started(world: World) -> None:
    client = connect(world.settings)
    experiment = client.create_experiment("sentiflow")
    for status, kind in (("FAILED", "training"), ("FINISHED", "repeats"), ("FINISHED", "trial")):
        run = client.create_run(experiment, tags={"kind": kind})
        client.set_terminated(run.info.run_id, status)
        with pytest.raises(UsageError, match="no finished training"):
            find_original(run.info.run_id, world.settings)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE params SET value = 'magic' WHERE key = 'optimizer'", "magic"),
        ("UPDATE params SET value = '1e9' WHERE key = 'seed'", "'1e9'"),
        ("DELETE FROM params WHERE key = 'dataset'", "'dataset'"),
        ("INSERT INTO params SELECT 'table.labels', '{', run_uuid FROM params WHERE key = 'seed'", "never closed"),
    ],
)
def test_parameters_that_todays_code_does_not_train_are_told_with_the_commit(
    sql: str, told: str, copied: World, trained: Trained
) -> None:
    edit(copied, sql)
    with pytest.raises(UsageError, match="Today's code does not train") as caught:
        find_original(f"{NAME}/1", copied.settings)
    assert told in str(caught.value)
    assert connect(copied.settings).get_run(trained.result.run_id).data.tags["git.commit"] in caught.value.hint


def test_the_recipe_of_a_run_is_read_back_as_it_was(copied: World) -> None:
    original = find_original(f"{NAME}/1", copied.settings)
    assert original.config == load_recipe("tutorial", ["sequence_length=80"])
    assert (original.seed, original.dataset) == (4, "sample")


@pytest.mark.story
@pytest.mark.weekly
def test_a_dirty_tree_reproduces_from_its_patch(world: World, prefect_server: None, tmp_path: Path) -> None:
    """The commands that the page of reproduction gives, on clones of this project."""
    dirty, clean = tmp_path / "dirty", tmp_path / "clean"
    for folder in (dirty, clean):
        subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    recurrence = dirty / "sentiflow" / "training" / "network" / "model.py"
    recurrence.write_text(
        recurrence.read_text() + "\nfrom sentiflow.training.network import tuned_by_me  # noqa\n"
    )
    (recurrence.parent / "tuned_by_me.py").write_text(
        "import keras\n\n"
        "_init = keras.optimizers.RMSprop.__init__\n\n\n"
        "def other(self, *args, **kwargs):\n    _init(self, *args, **kwargs, epsilon=1e-5)\n\n\n"
        "keras.optimizers.RMSprop.__init__ = other\n"
    )
    quick = [f"--set={each}" for each in ("epochs=1", "sequence_length=20", "units=4", "embedding_size=4")]
    done = run(dirty, world, "train", "--dataset", "sample", "--recipe", "tutorial", *quick)
    assert done.returncode == 0, done.stderr
    (version,) = connect(world.settings).search_model_versions(f"name = '{NAME}'")
    without = run(clean, world, "reproduce", f"{NAME}/1")
    assert without.returncode == 4, without.stderr
    assert "does not reproduce" in without.stderr
    patch = Path(connect(world.settings).get_run(str(version.run_id)).info.artifact_uri.removeprefix("file://"))
    subprocess.run(["git", "-C", clean, "apply", patch / "uncommitted.patch"], check=True)
    again = run(clean, world, "reproduce", str(version.run_id), "--json")
    outcome = json.loads(again.stdout)
    assert (again.returncode, outcome["identical"], outcome["called"]) == (0, True, f"{NAME}/1"), again.stderr


def run(checkout: Path, world: World, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line of a checkout."""
    code = [sys.executable, "-c", "from flows.cli.main import main; main()"]
    return subprocess.run(
        [*code, *arguments],
        env=world.environment(PYTHONPATH=str(checkout)),
        cwd=world.root,
        capture_output=True,
        text=True,
        check=False,
    )
