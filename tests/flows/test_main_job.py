"""The main job as `make run` starts it, on the real reviews, in a world where nothing exists yet."""

import re
import subprocess
from pathlib import Path

import keras
import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from sentiflow.data.reviews import Reviews
from sentiflow.scoring import TextScorer, Vocabulary
from sentiflow.settings import Settings
from sentiflow.store.client import connect
from tests.against_keras import check_scores, held_by
from tests.store import check_run
from tests.world import World

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("main-job"))


@pytest.fixture(scope="module")
def job(world: World, imdb_settings: Settings) -> "subprocess.CompletedProcess[str]":
    """One whole run: no store, no data folder, no Prefect server before it."""
    mirror = {
        f"SENTIFLOW_{name.upper()}": str(getattr(imdb_settings, name))
        for name in ("imdb_url", "imdb_sha256", "word_index_url", "word_index_sha256")
    }
    return world.run("train", "--fallback-sample", timeout=500, PREFECT_API_URL="", **mirror)


@pytest.fixture(scope="module")
def run(job: "subprocess.CompletedProcess[str]", world: World) -> Run:
    assert job.returncode == 0, job.stderr
    (found,) = connect(world.settings).search_runs(["1"])
    return found


def test_the_store_holds_everything_that_the_design_lists(run: Run, world: World, tmp_path: Path) -> None:
    check_run(
        connect(world.settings),
        run.info.run_id,
        epochs=int(run.data.tags["epochs_trained"]),
        test_reviews=25_000,
        folder=tmp_path,
    )


def test_no_tag_links_to_a_server_that_ends_with_the_command(run: Run) -> None:
    assert run.data.tags["prefect.flow_run_id"] and "prefect.flow_run_url" not in run.data.tags


def test_the_network_learns(run: Run) -> None:
    assert run.data.metrics["test/accuracy"] > 0.86  # five seeds gave 0.881 to 0.887


def test_one_version_is_registered_and_knows_its_run(run: Run, world: World) -> None:
    (version,) = connect(world.settings).search_model_versions("name = 'imdb-sentiment'")
    assert (str(version.version), version.run_id, version.status) == ("1", run.info.run_id, "READY")
    assert float(version.tags["test.accuracy"]) == pytest.approx(run.data.metrics["test/accuracy"], abs=1e-6)
    assert version.tags["dataset.digest"] == run.data.tags["dataset.digest"]


def test_the_summary_tells_accuracy_stages_and_what_next(
    job: "subprocess.CompletedProcess[str]", run: Run
) -> None:
    assert f"Test accuracy {run.data.metrics['test/accuracy']:.2%}" in job.stdout
    total = re.search(r"total +([\d.]+) s\n", job.stdout)
    assert total and total[1] == f"{float(run.data.tags['time.total']):.1f}"
    assert "Registered as imdb-sentiment version 1" in job.stdout
    assert f"/runs/{run.info.run_id}" in job.stdout
    assert " predict --dataset imdb " in job.stdout


def test_nothing_is_written_outside_the_places_in_the_settings(run: Run, world: World) -> None:
    assert {path.name for path in world.root.iterdir()} == {"mlruns", "data", "prefect"}
    assert list((world.root / "data" / "work").glob("*/*")) == []


def test_raw_texts_score_as_the_keras_model_scores_their_ids(
    run: Run, world: World, imdb: tuple[Reviews, Vocabulary], tmp_path: Path
) -> None:
    connect(world.settings)
    folder = Path(mlflow.artifacts.download_artifacts("models:/imdb-sentiment/1", dst_path=str(tmp_path)))
    test = imdb[0].of("test").take(np.arange(1_000))
    texts = [imdb[1].decode(ids, unknown="") for ids in test.tokens]
    scores = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"text": texts}))["score"].to_numpy()
    ngrams = TextScorer.load(folder / "artifacts").ngrams
    assert ngrams is not None
    ids = {"ids": test.padded(500, 10_000), "ngrams": held_by(test.tokens, ngrams)}
    network = keras.models.load_model(folder / "artifacts" / "model.keras")
    check_scores(scores, network, ids)


def test_the_score_table_is_what_the_registered_model_says(
    run: Run, world: World, imdb: tuple[Reviews, Vocabulary], tmp_path: Path
) -> None:
    client = connect(world.settings)
    table = pd.read_parquet(client.download_artifacts(run.info.run_id, "test_scores.parquet", str(tmp_path)))
    test = imdb[0].of("test").take(np.arange(0, 25_000, 500))
    texts = [imdb[1].decode(ids, unknown="") for ids in test.tokens]
    model = mlflow.pyfunc.load_model("models:/imdb-sentiment/1")
    answers = model.predict(pd.DataFrame({"text": texts}))["score"].to_numpy()
    stored = table.set_index("review_id").loc[test.review_id.tolist(), "score"].to_numpy()
    np.testing.assert_allclose(answers, stored, rtol=0, atol=1e-9)
