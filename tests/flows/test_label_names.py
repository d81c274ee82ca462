"""A version whose training table calls its labels in its own way: all that answers speaks of these."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow.pyfunc
import pytest

from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import figures
from tests.world import Trained, World

NAMES = ZERO, ONE = "<i>Complaint</i> [b]", "=praise|*you*"
LOW, HIGH = "The acting was dull and wooden.", "The direction was touching and at times rewarding."


@pytest.fixture(scope="module")
def named(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path]]:
    """A store whose champion has labels of these names, and the folder of its files."""
    folder = tmp_path_factory.mktemp("named")
    world, client = service.copied(trained, folder)
    files = folder / "version"
    shutil.copytree(service.files(client, 1), files)
    replace(service.scorer_of(client, 1), label_names=NAMES).save(files / "artifacts")
    version = client.create_model_version(service.MODEL, files.as_uri())
    service.promote(client, int(version.version))
    yield world, files


def test_predict_says_them_on_the_terminal_and_to_scripts(named: tuple[World, Path]) -> None:
    world, _ = named
    said = world.run("predict", LOW, HIGH).stdout.splitlines()
    assert said[0].startswith(f"{ZERO}  0.") and said[0].endswith(f"  {LOW}")
    assert said[1].startswith(f"{ONE}{' ' * (len(ZERO) - len(ONE))}  0.") and said[1].endswith(f"  {HIGH}")
    told = json.loads(world.run("predict", "--json", LOW, HIGH).stdout)
    assert [each["label"] for each in told["answers"]] == [*NAMES]
    assert told["model"]["label_names"] == [*NAMES]


def test_an_explanation_and_its_page_say_them(named: tuple[World, Path]) -> None:
    world, _ = named
    page = world.root / "explained.html"
    said = world.run("predict", "--explain", "--html", str(page), HIGH).stdout
    assert f"\n{ONE}" in said
    assert "from 0 (&lt;i&gt;Complaint&lt;/i&gt; [b]) to 1 (=praise|*you*)" in page.read_text()


def test_an_output_of_score_holds_them(named: tuple[World, Path]) -> None:
    world, _ = named
    (world.root / "in.csv").write_text(f"text\n{LOW}\n{HIGH}\n")
    assert world.run("score", "in.csv", "-o", "out.csv").returncode == 0
    with (world.root / "out.csv").open(newline="") as stream:
        assert [row["label"] for row in csv.DictReader(stream)] == [ZERO, ONE]


def test_mlflow_gives_them(named: tuple[World, Path]) -> None:
    _, files = named
    assert mlflow.pyfunc.load_model(str(files)).predict([LOW, HIGH])["label"].tolist() == [*NAMES]


def test_every_path_of_the_service_says_them(named: tuple[World, Path]) -> None:
    world, _ = named
    with service.running(world) as running, running.client() as http:
        assert http.get("/model").json()["label_names"] == [*NAMES]
        begin = "sentiflow_predictions_total label="
        counts = figures(http.get("/metrics").text)
        assert {key: value for key, value in counts.items() if key.startswith(begin)} == {
            f"{begin}{ZERO}": 0, f"{begin}{ONE}": 0,
        }  # fmt: skip
        for path, body in (("/predict", {"texts": [LOW, HIGH]}), ("/invocations", {"inputs": [LOW, HIGH]})):
            assert [each["label"] for each in http.post(path, json=body).json()["predictions"]] == [*NAMES]
        assert http.post("/explain", json={"text": HIGH}).json()["label"] == ONE
        counts = figures(http.get("/metrics").text)
        assert (counts[f"{begin}{ZERO}"], counts[f"{begin}{ONE}"]) == (2, 3)
