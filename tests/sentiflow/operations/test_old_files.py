"""Which files housekeeping removes from the data folder."""

import hashlib
import os
import time
from collections.abc import Collection
from pathlib import Path

import pytest

from flows.housekeeping import remove_old_files
from sentiflow.data import prepare
from sentiflow.data.imdb import fetch_file
from sentiflow.data.prepare import Prepared
from sentiflow.data.reviews import vocabulary_file
from sentiflow.operations.housekeeping import CleanupReport, delete_old_files
from sentiflow.settings import Settings
from sentiflow.store.client import connect
from tests.sentiflow.test_locks import line_with, process
from tests.world import World

DAY = 86_400


def age(days: float, *files: Path) -> None:
    moment = time.time() - days * DAY
    for file in files:
        os.utime(file, (moment, moment))


def prepared(world: World, name: str = "mine") -> Prepared:
    table = world.root / f"{name}.csv"
    table.write_text("text,label\n" + "".join(f"good {i} film,1\nbad {i} film,0\n" for i in range(30)))
    return prepare.prepare(prepare.fetch(str(table), world.settings), world.settings)


def deleted(settings: Settings, kept: Collection[str]) -> CleanupReport:
    report = CleanupReport()
    delete_old_files(settings, kept, report)
    return report


def old(made: Prepared, days: float) -> Path:
    age(days, made.table, vocabulary_file(made.table))
    return made.table


@pytest.mark.parametrize(("days", "stays"), [(59.9, True), (60.1, False)])
def test_a_dataset_goes_when_nothing_used_it_for_as_long_as_the_settings_say(
    world: World, days: float, stays: bool
) -> None:
    table = old(prepared(world), days)
    rejects = table.parent / "rejects" / "0123456789ab.rejects.jsonl"
    rejects.parent.mkdir()
    rejects.write_text("{}\n")
    age(days, rejects)
    report = deleted(world.settings, ())
    assert table.exists() == vocabulary_file(table).exists() == rejects.exists() == stays
    assert bool(report.removed) == (not stays)
    assert prepared(world).made == (not stays)


def test_what_a_champion_without_tags_of_its_own_is_judged_by_stays(world: World) -> None:
    table = old(prepared(world), 99)
    client = connect(world.settings)
    run = client.create_run("0", tags={"dataset.digest": table.stem}).info
    client.create_registered_model("mine-sentiment")
    client.create_model_version("mine-sentiment", run.artifact_uri, run.run_id)
    client.set_registered_model_alias("mine-sentiment", "champion", "1")
    remove_old_files.fn()
    assert table.exists()


def test_files_of_a_model_in_training_stay(world: World) -> None:
    table = old(prepared(world), 99)
    work = world.root / "data" / "work" / "mine-sentiment" / "1"
    work.mkdir(parents=True)
    with process(world, model="mine-sentiment") as holder:
        line_with("held", holder)
        assert deleted(world.settings, ()).removed == []
        assert table.exists() and work.exists()
    deleted(world.settings, ())
    assert not table.exists() and not work.exists()


def test_a_sweep_goes_when_nothing_resumed_it_for_as_long_as_the_settings_say(world: World) -> None:
    studies = [world.root / "data" / "sweeps" / "mine-sentiment" / key / "1" / "study.db" for key in "ab"]
    for study, days in zip(studies, (59.9, 60.1), strict=True):
        study.parent.mkdir(parents=True)
        study.touch()
        age(days, study)
    with process(world, model="mine-sentiment") as holder:
        line_with("held", holder)
        assert deleted(world.settings, ()).removed == []
    deleted(world.settings, ())
    assert [study.parent.exists() for study in studies] == [True, False]


def test_leftovers_of_killed_processes_go_and_a_used_download_stays(world: World, tmp_path: Path) -> None:
    source = tmp_path / "source.npz"
    source.write_bytes(b"reviews")
    digest = hashlib.sha256(b"reviews").hexdigest()
    target = world.settings.data_dir / "downloads" / "abc" / "imdb.npz"

    def fetch() -> bool:
        return fetch_file(str(source), digest, target, timeout=5, retries=0)

    assert fetch()
    leftover = target.with_name("tmpabcdef")
    leftover.write_bytes(bytes(100))
    age(61, target)
    assert not fetch()  # found, and so used
    report = deleted(world.settings, ())
    assert (target.exists(), leftover.exists(), len(report.removed)) == (True, False, 1)
    age(61, target)
    report = deleted(world.settings, ())
    assert (target.exists(), len(report.removed)) == (False, 1)


def test_files_of_others_in_folders_of_these_names_stay(tmp_path: Path) -> None:
    """Red if a data folder that somebody else made, or that holds other files, cost the user theirs."""
    data, theirs = tmp_path / "data", tmp_path / "theirs"
    for name in ("notes/thesis.txt", "sales/old.parquet", "sales/.x.json", "files/a.txt", "files/.b.lock"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("{}")
        age(99, theirs / name)
    data.mkdir()
    for name in ("work", "datasets", "sweeps", "downloads"):
        (data / name).symlink_to(theirs)
    before = sorted(theirs.rglob("*"))
    report = deleted(Settings(data_dir=data), ())
    assert (report.removed, report.failures) == ([], [])
    assert sorted(theirs.rglob("*")) == before
