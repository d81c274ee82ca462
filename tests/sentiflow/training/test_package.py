import json
import os
import re
import subprocess
import sysconfig
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import keras
import mlflow.keras
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import fluent
from packaging.requirements import Requirement

from sentiflow.data import prepare, reviews
from sentiflow.data.reviews import Reviews
from sentiflow.scoring import Vocabulary
from sentiflow.store.client import connect
from tests.against_keras import check_scores
from tests.world import ROOT, Trained, copy_world

SITE = Path(sysconfig.get_paths()["purelib"])


@pytest.fixture(scope="module")
def model_dir(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registered version's files, downloaded from the registry."""
    connect(trained.world.settings)
    model = trained.result.model
    folder = tmp_path_factory.mktemp("model")
    return Path(mlflow.artifacts.download_artifacts(f"models:/{model.name}/{model.version}", dst_path=str(folder)))


@pytest.fixture(scope="module")
def sample(trained: Trained) -> tuple[Reviews, Vocabulary]:
    settings = trained.world.settings
    table = prepare.prepare(prepare.fetch("sample", settings), settings).table
    return reviews.read(table), reviews.read_vocabulary(table)


@pytest.fixture(scope="module")
def raw_texts(sample: tuple[Reviews, Vocabulary]) -> list[str]:
    """The sample's 1,000 test reviews as raw text."""
    content, words = sample
    return [words.decode(ids, unknown="") for ids in content.of("test").tokens]


def test_scores_of_raw_text_equal_the_keras_model_on_1000_test_reviews(
    model_dir: Path, sample: tuple[Reviews, Vocabulary], raw_texts: list[str]
) -> None:
    network = keras.models.load_model(model_dir / "artifacts" / "model.keras")
    ids = sample[0].of("test").padded(80, 10_000)
    scores = mlflow.pyfunc.load_model(str(model_dir)).predict(pd.DataFrame({"text": raw_texts}))["score"]
    assert len(scores) == 1_000
    check_scores(scores.to_numpy(), network, ids)


def test_labels_follow_the_scores_and_rows_keep_their_index(model_dir: Path, raw_texts: list[str]) -> None:
    frame = pd.DataFrame({"text": raw_texts[:40]}, index=range(100, 140))
    answer = mlflow.pyfunc.load_model(str(model_dir)).predict(frame)
    assert list(answer.columns) == ["label", "score"]
    assert list(answer.index) == list(range(100, 140))
    assert set(answer["label"]) == {"positive", "negative"}
    assert ((answer["label"] == "positive") == (answer["score"] > 0.5)).all()


def test_a_list_a_series_an_array_and_a_dict_get_the_scores_of_a_table(
    model_dir: Path, raw_texts: list[str]
) -> None:
    model, texts = mlflow.pyfunc.load_model(str(model_dir)), raw_texts[:3]
    answer = model.predict(pd.DataFrame({"id": [1, 2, 3], "text": texts}))
    for same in (texts, tuple(texts), np.array(texts), {"text": texts}, {"text": np.array(texts)}):
        pd.testing.assert_frame_equal(model.predict(same), answer)
    of_series = model.predict(pd.Series(texts, index=["a", "b", "c"], name="review"))
    pd.testing.assert_frame_equal(of_series, answer.set_axis(["a", "b", "c"]))
    pd.testing.assert_frame_equal(model.predict({"text": texts[0]}), model.predict(texts[:1]))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (pd.DataFrame({"title": ["good"]}), "got DataFrame with the columns title"),
        ({"texts": ["good"]}, "got dict with the columns texts"),
        ("good", "got str"),
        (5, "got int"),
        (np.array([["good"]]), "got ndarray"),
        ([["good"]], "expected texts, got list"),
        (["fine", None], "expected texts, got NoneType"),
        (pd.DataFrame({"text": ["fine", 3.5]}), "expected texts, got float"),
    ],
)
def test_what_holds_no_texts_is_refused_with_a_line(model_dir: Path, wrong: object, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        mlflow.pyfunc.load_model(str(model_dir)).predict(wrong)


def test_the_logged_model_has_the_figures_of_its_run_once(trained: Trained) -> None:
    client = connect(trained.world.settings)
    run = client.get_run(trained.result.run_id)
    (model,) = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    figures = {each.key: each for each in model.metrics or []}
    assert {name: each.value for name, each in figures.items()} == {
        name: value for name, value in run.data.metrics.items() if name.startswith(("test/", "val/"))
    }
    assert {"test/accuracy", "test/accuracy_ci_low", "test/latency_ms", "test/size_mb", "val/loss"} <= set(figures)
    assert figures["test/accuracy"].dataset_name == "sample-test"
    digest = run.data.tags["dataset.digest"]
    assert digest.startswith(str(figures["val/loss"].dataset_digest))
    for name in ("test/accuracy", "test/size_mb"):
        assert len(client.get_metric_history(run.info.run_id, name)) == 1
    best = client.search_logged_models(
        [run.info.experiment_id], order_by=[{"field_name": "metrics.test/accuracy", "ascending": False}]
    )[0]
    assert best.model_id == model.model_id


def test_the_examples_of_the_docs_run(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = copy_world(tmp_path, trained.world)
    # Their experiment is that of this test alone.
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = page.partition("## The registered model")[2].partition("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    code = code.replace("imdb-sentiment", trained.result.model.name)
    code = code.replace("sqlite:///mlruns/mlflow.db", world.settings.tracking_uri)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the docs' own
    assert names["network"].name == "sentiment"
    assert names["result"].metrics["example_count"] == 2
    model = connect(world.settings).get_logged_model(names["models"]["model_id"].item())
    assert ("accuracy_score", names["result"].metrics["accuracy_score"]) in [
        (each.key, each.value) for each in model.metrics
    ]
    assert names["models"]["source_run_id"].tolist() == [trained.result.run_id]


def test_the_model_holds_no_pickle(model_dir: Path) -> None:
    assert not [path for path in model_dir.rglob("*") if path.suffix in (".pkl", ".pickle")]
    assert "python_model" not in (model_dir / "MLmodel").read_text().replace("python_model_", "")


@pytest.mark.story
def test_it_loads_in_a_bare_environment_with_just_its_own_requirements(
    model_dir: Path, raw_texts: list[str], tmp_path: Path
) -> None:
    python = bare_environment(tmp_path / "venv", (model_dir / "requirements.txt").read_text())
    (tmp_path / "texts.json").write_text(json.dumps(raw_texts[:50]))
    script = """
import json, sys
import mlflow.pyfunc, pandas as pd
texts = json.load(open("texts.json"))
scores = mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.DataFrame({"text": texts}))["score"]
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([scores.tolist(), sorted(loaded & {"keras", "tensorflow", "sentiflow", "tasks", "prefect"})]))
"""
    environment = {
        "PATH": os.environ["PATH"],
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [python, "-c", script, model_dir],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    scores, foreign = json.loads(done.stdout.splitlines()[-1])
    here = mlflow.pyfunc.load_model(str(model_dir)).predict(pd.DataFrame({"text": raw_texts[:50]}))
    assert foreign == []
    np.testing.assert_allclose(scores, here["score"], rtol=0, atol=1e-12)


def bare_environment(folder: Path, requirements: str) -> Path:
    """A virtual environment with these requirements and what they need, and nothing else.

    Taken from the installed packages, file by file, because the tests have no network.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    target = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    entries: set[str] = set()
    for name in closure([Requirement(line) for line in requirements.splitlines() if line.strip()]):
        for file in distribution(name).files or []:
            if not str(file).startswith(".."):
                entries.add(file.parts[0])
    assert "sentiflow" not in entries and "tensorflow" not in entries
    for entry in entries:
        (target / entry).symlink_to(SITE / entry)
    return python


def closure(wanted: list[Requirement]) -> set[str]:
    """Names of the distributions that these need, the pins checked against what is installed."""
    names: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            pytest.fail(f"the model asks for {requirement}, which is not installed here")
        assert requirement.specifier.contains(found.version, prereleases=True), requirement
        if requirement.name.lower() in names:
            continue
        names.add(requirement.name.lower())
        for line in found.requires or []:
            needed = Requirement(line)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                wanted.append(needed)
    return names
