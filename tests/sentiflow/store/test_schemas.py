"""Stores of other MLflow releases: read by our readers, named as what they are, and never written to."""

import logging
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.tracking import MlflowClient

from sentiflow.errors import ExternalError
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store.client import connect
from sentiflow.store.find import find_champion, find_version, load_scorer, open_store
from sentiflow.store.sqlite import REVISIONS, installed_release, query
from tests.flows.cli.test_commands import run_telling_modules
from tests.stores import make
from tests.world import World

NAME = "imdb-sentiment"
KEPT = sorted(file.name.removeprefix("mlflow-").removesuffix(".db.gz") for file in make.FOLDER.glob("*.gz"))
NEWER = "ffffffffffff"  # a revision that no installed MLflow knows
(OURS,) = (release for release in KEPT if release.startswith(f"{installed_release()}."))
READ = "It can be read, but not written to."


def settings_of(release: str, folder: Path) -> Settings:
    """Settings of a fresh store of a release."""
    file = make.unpack(release, folder / "mlruns" / "mlflow.db")
    return Settings(tracking_uri=f"sqlite:///{file}", data_dir=folder / "data")


def change(settings: Settings, *statements: str) -> None:
    with closing(sqlite3.connect(str(settings.sqlite_file))) as database, database:
        for statement in statements:
            database.execute(statement)


def newer_store(folder: Path) -> Settings:
    settings = settings_of(OURS, folder)
    change(settings, f"UPDATE alembic_version SET version_num = '{NEWER}'")
    return settings


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_schema_is_that_of_the_installed_mlflow_of_which_a_store_is_kept() -> None:
    """Red with a newer MLflow: add its revision, and its store by tests/stores/make.py."""
    (head,) = ScriptDirectory.from_config(_get_alembic_config("")).get_heads()
    assert REVISIONS[head] == version("mlflow").rpartition(".")[0]


@pytest.mark.parametrize("release", KEPT)
def test_the_revision_of_each_kept_store_is_known_by_its_release(release: str, tmp_path: Path) -> None:
    file = settings_of(release, tmp_path).sqlite_file
    assert file is not None
    ((revision,),) = query(file, "SELECT version_num FROM alembic_version")
    assert REVISIONS[revision] == release.rpartition(".")[0]
    assert len(REVISIONS) == len(KEPT)


@pytest.mark.parametrize("release", KEPT)
def test_stores_of_each_release_are_read(
    release: str, tmp_path: Path, scorer: TextScorer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(release, tmp_path)
    moved = f"replace(storage_location, '/store', '{tmp_path}')"
    change(settings, f"UPDATE model_versions SET storage_location = {moved}")
    store = open_store(settings)
    newest, first = store.runs()
    assert [run.name for run in (newest, first)] == ["tuned-imdb-seed1", "tuned-imdb-seed0"]
    assert (first.status, first.params, first.kind) == ("FINISHED", {"recipe": "tuned", "seed": "0"}, "training")
    assert (first.metrics["test/accuracy"], first.metrics["val/loss"]) == (0.875, 0.75)
    assert store.history(first.run_id)["val/loss"] == [(1, 1.5), (2, 1.0), (4, 0.75)]
    assert store.record(newest.run_id) == newest
    assert store.versions_by_run() == {first.run_id: f"{NAME}/1", newest.run_id: f"{NAME}/2"}
    assert [(each.number, each.run_id) for each in store.versions(NAME)] == [(1, first.run_id), (2, newest.run_id)]
    assert store.versions(NAME)[0].tags["val.loss"] == "0.5"
    champion = find_champion(settings, None)
    assert champion is not None and (champion.version.number, champion.accuracy) == (2, 0.875)
    chosen = find_version(settings, None, None)
    assert (chosen.name, chosen.number, chosen.why) == (NAME, 2, "champion")
    folder = store.version_files(NAME, 2, tmp_path)
    (folder / "artifacts").mkdir(parents=True)
    scorer.save(folder / "artifacts")
    assert load_scorer(settings, chosen).digest == scorer.digest
    assert len(warnings(caplog)) == (release != OURS)


@pytest.mark.parametrize("release", sorted({*KEPT} - {OURS}))
def test_stores_of_other_releases_are_named_by_readers_and_refused_by_writers_unchanged(
    release: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Red without the check: MLflow upgrades some older stores by itself, and calls newer ones out of date."""
    settings = settings_of(release, tmp_path)
    file = settings.sqlite_file
    assert file is not None
    before = file.read_bytes()
    for _ in range(3):
        assert len(open_store(settings).runs()) == 2
    with pytest.raises(ExternalError) as caught:
        connect(settings)
    assert file.read_bytes() == before
    (told,) = warnings(caplog)
    assert (told, caught.value.exit_code) == (f"{caught.value.args[0]} {READ}", 3)
    made, ours = (each.rpartition(".")[0] for each in (release, OURS))
    assert f"{file} is of another MLflow ({made}); installed is {ours}." in told
    assert f"mlflow db upgrade sqlite:///{file}" in caught.value.hint


OTHERS = "CREATE TABLE alembic_version (version_num)", "INSERT INTO alembic_version VALUES ('0784c29e49d7')"


@pytest.mark.parametrize("tables", [[], ["CREATE TABLE notes (text)"], OTHERS])
def test_the_database_of_another_program_is_no_store(tables: list[str], tmp_path: Path) -> None:
    """Red if MLflow made its tables there."""
    settings = settings_of(OURS, tmp_path)
    assert settings.sqlite_file is not None
    settings.sqlite_file.unlink()
    change(settings, "PRAGMA user_version = 1", *tables)
    before = settings.sqlite_file.read_bytes()
    for use in (lambda: open_store(settings).runs(), lambda: connect(settings)):
        with pytest.raises(ExternalError, match="Cannot read the store"):
            use()
    assert settings.sqlite_file.read_bytes() == before


def test_commands_warn_in_one_line_without_loading_mlflow(tmp_path: Path) -> None:
    newer_store(tmp_path)
    done, loaded = run_telling_modules("runs", "--json", world=World(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is of another MLflow") == 1 and len(done.stderr.splitlines()) == 1
    assert not {"mlflow", "sqlalchemy", "alembic"} & loaded


@pytest.mark.story
def test_the_command_that_is_advised_for_an_older_store_upgrades_it(tmp_path: Path) -> None:
    settings = settings_of(KEPT[0], tmp_path / "a store")
    with pytest.raises(ExternalError) as caught:
        connect(settings)
    command = shlex.split(caught.value.hint.splitlines()[0].partition("then: ")[2])
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True, capture_output=True)
    client: MlflowClient = connect(settings)
    assert int(client.get_model_version_by_alias(NAME, "champion").version) == 2
    client.set_registered_model_alias(NAME, "champion", "1")
    champion = find_champion(settings, NAME)
    assert champion is not None and champion.version.number == 1
