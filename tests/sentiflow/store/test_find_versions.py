"""Which registered version answers, what scores with it, and the table of all."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from sentiflow.errors import ExternalError, UsageError
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.settings import Settings
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.find import (
    VersionRow,
    find_champion,
    find_version,
    load_scorer,
    open_store,
    reproduction_of,
    version_rows,
    with_dataset,
)
from sentiflow.store.records import SCORER_DIGEST, Version, VersionRecord
from sentiflow.store.ui import ui_url
from tests.world import Trained, World


@pytest.fixture
def registry(world: World) -> MlflowClient:
    """Three versions of one model, of which the second is deleted, and one version of another."""
    client = connect(world.settings)
    experiment = client.create_experiment("any", artifact_location=(world.root / "files").as_uri())
    for name, number in (("imdb-sentiment", 3), ("sample-sentiment", 1)):
        client.create_registered_model(name)
        for _ in range(number):
            model = client.create_logged_model(experiment, name=name)
            Path(model.artifact_location.removeprefix("file://")).mkdir(parents=True)
            client.create_model_version(name, f"models:/{model.model_id}", model_id=model.model_id)
    client.delete_model_version("imdb-sentiment", "2")
    return client


def test_prompts_which_mlflow_keeps_beside_models_are_none(world: World, registry: MlflowClient) -> None:
    mlflow.genai.register_prompt("greeting", "Hello {{name}}")
    assert open_store(world.settings).models() == ["imdb-sentiment", "sample-sentiment"]


def test_what_is_asked_for_answers_then_the_champion_then_the_newest(world: World, registry: MlflowClient) -> None:
    def answers(name: str | None = None, number: int | None = None) -> int:
        return find_version(world.settings, name, number).number

    assert (answers(), find_champion(world.settings, None)) == (3, None)
    registry.set_registered_model_alias("imdb-sentiment", "champion", "1")
    assert (answers(), answers(number=3)) == (1, 3)
    with pytest.raises(UsageError, match="no version 2"):
        answers(number=2)  # deleted
    with pytest.raises(UsageError, match="imdb-sentiment, sample-sentiment"):
        answers("mine-sentiment")
    with closing(sqlite3.connect(str(world.settings.sqlite_file))) as database, database:
        database.execute("UPDATE registered_model_aliases SET version = 2")
    assert answers() == 3
    registry.delete_registered_model("imdb-sentiment")
    assert find_version(world.settings, None, None).name == "sample-sentiment"


def test_before_a_champion_the_best_by_validation_of_the_newest_data_answers_and_says_so(
    world: World, registry: MlflowClient
) -> None:
    name = "imdb-sentiment"
    (folder,) = registry.search_logged_models(["1"], max_results=1)
    for loss, data in (("0.1", "old"), ("0.2", "new"), ("0.2", "new"), ("0.3", "new")):  # versions 4 to 7
        tags = {"val.loss": loss, "dataset.digest": data, SCORER_DIGEST: "any"}
        registry.create_model_version(name, f"models:/{folder.model_id}", model_id=folder.model_id, tags=tags)
    found = find_version(world.settings, name, None)
    assert found == Version(name, 6, "lowest validation loss of 3, no champion yet")
    registry.set_model_version_tag(name, "6", "decline.by", "Ada")
    assert find_version(world.settings, name, None).number == 5


def test_a_version_of_others_is_named_as_what_it_is(world: World, registry: MlflowClient) -> None:
    """One has files of another kind, the other none."""
    registry.create_model_version("sample-sentiment", (world.root / "nowhere").as_uri())
    for number in (1, 2):
        with pytest.raises(
            UsageError, match=rf"Version {number} of sample-sentiment was not made .* scorer\.json"
        ):
            load_scorer(world.settings, Version("sample-sentiment", number, "chosen by number"))


def test_an_empty_registry_says_what_to_do(tmp_path: Path) -> None:
    nothing = Settings(tracking_uri=f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(UsageError, match="sentiflow train"):
        find_version(nothing, None, None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_loaded_is_what_the_training_registered(trained: Trained) -> None:
    settings, version = trained.world.settings, Version("sample-sentiment", 1, "asked for")
    registered = open_store(settings).version(version.name, version.number)
    assert registered is not None
    assert load_scorer(settings, version).digest == registered.tags[SCORER_DIGEST]


def test_files_in_a_place_of_another_kind_are_refused_with_the_way_out(
    world: World, registry: MlflowClient, tmp_path: Path
) -> None:
    assert world.settings.sqlite_file is not None
    with closing(sqlite3.connect(world.settings.sqlite_file)) as database, database:
        database.execute("UPDATE model_versions SET storage_location = 's3://me:secret@bucket/model'")
    with pytest.raises(ExternalError, match="are at s3://.*@bucket/model, which cannot be read") as caught:
        load_scorer(world.settings, find_version(world.settings, None, None))
    assert "secret" not in str(caught.value) and "--serve-artifacts" in caught.value.hint


def test_a_version_that_names_no_dataset_has_that_of_its_run(world: World, registry: MlflowClient) -> None:
    store = open_store(world.settings)
    run_id = registry.create_run(
        "1", tags={"dataset": "imdb", "dataset.digest": "d1", "recipe": "tuned"}
    ).info.run_id
    version = VersionRecord(3, datetime(2026, 3, 1, tzinfo=UTC), run_id, {"seed": "4"})
    own = replace(version, tags={"dataset": "mine", "dataset.digest": "d2"})
    assert with_dataset(store, version).tags == {"seed": "4", "dataset": "imdb", "dataset.digest": "d1"}
    assert with_dataset(store, own) == own
    registry.delete_run(run_id)
    for unknown in (version, replace(version, run_id=None)):
        assert with_dataset(store, unknown) == unknown


@pytest.mark.parametrize(
    ("tags", "outcome"),
    [
        ({SCORER_DIGEST: "a", "reproduced": "identical", "reproduced.digest": "a"}, "identical"),
        ({SCORER_DIGEST: "b", "reproduced": "identical", "reproduced.digest": "a"}, ""),
        ({"reproduced": "identical", "reproduced.digest": "a"}, ""),
        ({SCORER_DIGEST: "a"}, ""),
    ],
)
def test_how_a_training_came_out_again_is_said_of_the_weights_that_it_gave(
    tags: dict[str, str], outcome: str
) -> None:
    assert reproduction_of(tags) == outcome


def test_the_table_of_versions_tells_of_each_what_it_has_on_record(world: World, registry: MlflowClient) -> None:
    name = "imdb-sentiment"
    for alias, number in (("champion", "3"), ("best", "3"), ("shadow", "1")):
        registry.set_registered_model_alias(name, alias, number)
    tags = {
        "test.accuracy": "0.5", "test.accuracy_ci_low": "0.4", "test.accuracy_ci_high": "0.625",
        "gate.outcome": "passed", "gate.against": "version 1",
        "reproduced": "identical", "reproduced.digest": "a", SCORER_DIGEST: "a",
    }  # fmt: skip
    for key, value in tags.items():
        registry.set_model_version_tag(name, "3", key, value)
    registry.set_model_version_tag(name, "1", SCORER_DIGEST, "b")
    registry.set_model_version_tag(name, "1", "gate.outcome", "refused")
    registry.set_model_version_tag(name, "1", "gate.against", "no champion")
    first, third = (version.registered for version in open_store(world.settings).versions(name))
    assert version_rows(name, world.settings) == [
        VersionRow(
            3,
            ("best", "champion"),
            third,
            0.5,
            0.4,
            0.625,
            gate="passed against v1",
            reproduced="identical",
            run="-",
        ),
        VersionRow(1, ("shadow",), first, None, None, None, gate="refused, no champion", reproduced="", run="-"),
    ]
    (by_hand,) = version_rows("sample-sentiment", world.settings)
    assert (by_hand.gate, by_hand.aliases) == ("not by Sentiflow", ())


@pytest.fixture
def version(world: World, tmp_path: Path) -> Version:
    rng = np.random.default_rng(1)
    shapes = (8, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    weights = Weights(*(rng.normal(0, 0.8, shape).astype(np.float32) for shape in shapes))
    (tmp_path / "artifacts").mkdir()
    TextScorer(weights, Vocabulary(("good", "bad", "film")), 6).save(tmp_path / "artifacts")
    client = connect(world.settings)
    client.create_registered_model("imdb-sentiment")
    client.create_model_version("imdb-sentiment", source=tmp_path.as_uri())
    return Version("imdb-sentiment", 1, "newest")


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scorer.json", b"[]"),
        ("scorer.json", b"[" * 100_000),
        ("scorer.json", b'{"format": 3, "sequence_length": 1e9}'),
        ("vocabulary.json", b"null"),
        ("vocabulary.json", b"\xff"),
        ("weights.npz", b"PK"),
        ("weights.npz", None),
    ],
)
def test_broken_files_are_told_with_the_version_and_the_way_on(
    version: Version, world: World, tmp_path: Path, name: str, content: bytes | None
) -> None:
    """Exit code 3, not 1: the version is broken, not this code."""
    path = tmp_path / "artifacts" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ExternalError, match="Cannot load imdb-sentiment version 1: ") as caught:
        load_scorer(world.settings, version)
    assert (caught.value.exit_code, "--model-version, or train again" in caught.value.hint) == (3, True)


@pytest.mark.parametrize(
    ("given", "leads_to"),
    [
        ({"tracking_uri": "sqlite:///mlflow.db"}, "http://127.0.0.1:5000"),
        ({"tracking_uri": "http://mlflow:5000/"}, "http://mlflow:5000"),
        ({"tracking_uri": "http://mlflow:5000", "ui_url": "http://127.0.0.1:8500/"}, "http://127.0.0.1:8500"),
    ],
)
def test_links_lead_where_the_settings_say_else_to_the_server(given: dict[str, str], leads_to: str) -> None:
    """Inside the stack the server has a name that no browser finds."""
    assert ui_url(Settings(_env_file=None, **given)) == leads_to


@pytest.mark.parametrize("odd", ["it's", '"', "') OR 1=1 --", "` = ", "a b", "", "'" * 300])
def test_a_version_with_an_odd_run_id_stands_in_the_table_beside_the_others(world: World, odd: str) -> None:
    """Red if what stands in place of an id goes into a question as it is: the whole table then failed."""
    client = connect(world.settings)
    run = client.create_run(experiment_id(client, world.settings), run_name="night-train").info.run_id
    client.create_registered_model("mine")
    for run_id in (run, odd):
        client.create_model_version("mine", source="/nowhere", run_id=run_id)
    assert [row.run for row in version_rows("mine", world.settings)] == [odd[:8] or "-", "night-train"]
