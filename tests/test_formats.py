"""What earlier versions of Sentiflow wrote is read by this one, also where it was moved to."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sentiflow.data import reviews
from sentiflow.errors import ExternalError
from sentiflow.monitoring import sample
from sentiflow.promotion.candidate import evaluate_candidate
from sentiflow.promotion.switch import rollback
from sentiflow.settings import Settings
from sentiflow.store.client import connect
from sentiflow.store.find import champion_of, find_version, load_scorer, open_store
from sentiflow.store.sqlite import find_move
from tests.stores import release
from tests.world import ROOT, World

scorer = import_module("sentiflow.scoring.scorer")
TEXTS = ["The room was lovely that morning, and so was the rest", "A dirty pool all night, never again", ""]
MODELS = "sample-sentiment", "visits-sentiment"


@pytest.fixture(params=release.revisions())
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The store of an earlier version, in another place than it was made in."""
    return _enter(release.unpack(request.param, tmp_path / "moved here"), monkeypatch)


def _enter(home: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(home)
    world.enter(monkeypatch)
    monkeypatch.setenv("SENTIFLOW_PREDICTION_LOG_DIR", str(home / "log"))
    monkeypatch.setenv("SENTIFLOW_MONITOR_MIN_TEXTS", "20")
    monkeypatch.setenv("SENTIFLOW_GATE_MIN_ACCURACY", "0.4")
    return world


def addresses(home: Path) -> set[str]:
    """All that the rows of a store say of where files are."""
    columns = {
        "experiments": "artifact_location",
        "runs": "artifact_uri",
        "logged_models": "artifact_location",
        "model_versions": "storage_location",
        "trace_tags": "value",
    }
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as store:
        rows = [row for table, name in columns.items() for row in store.execute(f"SELECT {name} FROM {table}")]
    return {address for (address,) in rows if str(address).startswith("file:")}


@pytest.mark.parametrize("model", MODELS)
def test_a_champion_scores_as_by_the_code_that_was_packed_with_it(kept: World, model: str) -> None:
    import mlflow.pyfunc

    version = find_version(kept.settings, model, None)
    assert (version.number, version.why) == (2, "champion")
    before = (kept.root / "mlruns" / "mlflow.db").read_bytes()
    folder = open_store(kept.settings).version_files(model, 2, kept.root)
    assert folder.is_relative_to(kept.root)
    packed = mlflow.pyfunc.load_model(str(folder)).predict(TEXTS)
    loaded = load_scorer(kept.settings, version)
    assert loaded.score(TEXTS).tolist() == pytest.approx(packed["score"].tolist(), abs=1e-12)
    assert [loaded.label_of(score) for score in loaded.score(TEXTS)] == packed["label"].tolist()
    assert (kept.root / "mlruns" / "mlflow.db").read_bytes() == before  # whoever reads writes nothing


@pytest.mark.parametrize("model", MODELS)
def test_versions_are_judged_and_the_one_before_comes_back(kept: World, model: str) -> None:
    judged = evaluate_candidate(model, 1, kept.settings)
    assert judged.decision.comparison is not None
    event = rollback(model, "tried", kept.settings)
    assert (event.version, event.replaced) == (1, 2)
    assert champion_of(open_store(kept.settings), model) == 1
    assert {address for address in addresses(kept.root) if str(release.HOME) in address} == set()
    assert not release.HOME.exists()


def test_a_copy_is_a_store_of_its_own_and_the_original_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = release.unpack(release.revisions()[-1], tmp_path / "original")
    connect(_enter(original, monkeypatch).settings)
    there = (original / "mlruns" / "artifacts").as_uri()
    found = addresses(original)
    assert len(found) > 8 and all(each.startswith(there) for each in found)
    before = (original / "mlruns" / "mlflow.db").read_bytes()
    copy = shutil.copytree(original, tmp_path / "a copy #2")
    caplog.clear()
    client = connect(_enter(copy, monkeypatch).settings)
    told = [each.getMessage() for each in caplog.records if "moved or copied" in each.getMessage()]
    assert len(told) == 1 and str(copy) in told[0] and str(original) in told[0]
    here = (copy / "mlruns" / "artifacts").as_uri()
    assert addresses(copy) == {each.replace(there, here) for each in found}
    run = client.search_runs(["1"])[0]
    client.log_text(run.info.run_id, "of the copy", "note.txt")
    assert [file.is_relative_to(copy) for file in tmp_path.rglob("note.txt")] == [True]
    assert (original / "mlruns" / "mlflow.db").read_bytes() == before


def test_a_store_whose_files_are_elsewhere_on_purpose_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lies beside the database, but in a folder that ``SENTIFLOW_ARTIFACT_ROOT`` named, or in a bucket."""
    home = release.unpack(release.revisions()[-1], tmp_path / "home")
    settings = _enter(home, monkeypatch).settings
    (home / "mlruns" / "artifacts").rename(tmp_path / "elsewhere")
    (home / "mlruns" / "artifacts").mkdir()
    found = addresses(home)
    connect(settings)
    assert addresses(home) == found
    named = Settings(tracking_uri=settings.tracking_uri, artifact_root=tmp_path / "elsewhere")
    assert open_store(named).version_files(MODELS[0], 2, tmp_path).is_relative_to(tmp_path / "elsewhere")
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as store, store:
        store.execute("UPDATE experiments SET artifact_location = 's3://bucket/sentiflow' WHERE experiment_id = 1")
    assert find_move(settings, home / "mlruns" / "mlflow.db") is None


def test_files_of_a_later_version_are_named_with_it(kept: World) -> None:
    file = open_store(kept.settings).version_files(MODELS[0], 1, kept.root) / "artifacts" / "scorer.json"
    newer = json.loads(file.read_text(encoding="utf-8")) | {"format": 9, "sentiflow": "2.1.0"}
    file.write_text(json.dumps(newer), encoding="utf-8")
    for use in (
        lambda: load_scorer(kept.settings, find_version(kept.settings, MODELS[0], 1)),
        lambda: evaluate_candidate(MODELS[0], 1, kept.settings),
        lambda: rollback(MODELS[0], "tried", kept.settings),
    ):
        with pytest.raises(ExternalError, match=r"format 9, .* written by Sentiflow 2\.1\.0") as refused:
            use()
        assert refused.value.hint.startswith("Upgrade Sentiflow")
    assert champion_of(open_store(kept.settings), MODELS[0]) == 2


def test_a_table_and_a_sample_of_a_later_version_are_named_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = _enter(release.unpack("ddd4c673", tmp_path), monkeypatch)
    file = tmp_path / "data" / "samples" / MODELS[0] / "1.json"
    assert len(sample.samples(MODELS[0], world.settings)[0].texts) == 200
    newer = json.loads(file.read_text(encoding="utf-8")) | {"format": 2, "sentiflow": "2.1.0"}
    file.write_text(json.dumps(newer), encoding="utf-8")
    with pytest.raises(ExternalError, match=r"format 2, written by Sentiflow 2\.1\.0"):
        sample.samples(MODELS[0], world.settings)
    (table,) = (tmp_path / "data" / "datasets" / "visits").glob("*.parquet")
    content = pq.read_table(table)
    pq.write_table(content.replace_schema_metadata({"format": "4", "sentiflow": "2.1.0"}), table)
    with pytest.raises(ExternalError, match=r"format 4, written by Sentiflow 2\.1\.0"):
        reviews.read(table)


def test_the_page_has_the_numbers_and_the_readers_of_the_code() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| .* \| (.*) \| `([\w.]+)`", page, re.MULTILINE)
    numbers = {reader: number for number, reader in rows}
    for module in (scorer, reviews, sample):
        assert numbers[module.__name__].startswith(f"{module.FORMAT},")
    assert "3 is read, too" in numbers[scorer.__name__] and scorer.READ_FORMATS == (3, 4, 5, 6)
    assert {reader for _, reader in rows if find_spec(reader) is None} == set()


def _last_losses(world: World, version: str) -> tuple[float, float]:
    """The validation loss of a version's reproduction, and of its run."""
    client = connect(world.settings)
    original = client.get_model_version(*version.split("/")).run_id
    (again,) = client.search_runs(["1", "2"], f"tags.reproduces = '{original}'")
    return again.data.metrics["val/loss"], client.get_run(original).data.metrics["val/loss"]


@pytest.mark.story
def test_every_command_goes_through(kept: World, prefect_server: None) -> None:
    """A chain as after an upgrade; 4: refused by the gate, as it should be.

    None: the stores were made on another machine, whose processor may round differently.
    """
    for line, code in (
        ("predict --dataset sample Lovely", 0),
        ("predict --dataset visits --explain Lovely", 0),
        ("versions --dataset sample --history", 0),
        ("runs --children", 0),
        ("compare visits-sentiment/1 visits-sentiment/2", 0),
        ("promote 1 --dataset sample", 4),
        ("rollback --dataset sample --reason tried", 0),
        ("promote 2 --dataset sample", 0),
        ("reproduce sample-sentiment/2", None),
        ("reproduce visits-sentiment/1", None),
        ("score visits.csv --dataset sample --output scored.csv", 0),
        ("monitor --dataset sample", 0),
        ("label --dataset sample --texts 20", 0),
        ("label --dataset sample --export labels.csv", 0),
        ("train --dataset visits.csv --start-from visits-sentiment/1 --set embedding_size=4 --set units=4"
         " --set epochs=1 --recipe tutorial --seed 5", 0),
        ("promote 3 --dataset visits --force --reason tried", 0),
        ("housekeeping", 0),
    ):  # fmt: skip
        done = kept.run(*line.split())
        assert done.returncode in ((0, 4) if code is None else (code,)), line + done.stdout + done.stderr
        if line.startswith("reproduce"):
            again, before = _last_losses(kept, line.split()[1])
            assert again == pytest.approx(before, rel=1e-4)
    assert not release.HOME.exists()
