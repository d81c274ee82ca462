"""The model that the package carries: it answers before anything was trained, if asked for, and says so."""

import json

import pyarrow.parquet as pq
import pytest

from sentiflow.errors import UsageError
from sentiflow.store.find import find_version, load_scorer
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import figures
from tests.world import World, refusal

TEXT = "A wonderful film with great acting, loved every minute of it."
SAID = "base (trained on IMDB film reviews, not on yours)"


def test_predict_answers_with_it_whatever_the_store_and_says_what_it_is(world: World) -> None:
    said = world.run("predict", "--dataset", "base", TEXT, SENTIFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert said.returncode == 0, said.stderr
    answer, model = said.stdout.splitlines()
    assert answer.startswith("positive  0.") and model == SAID
    told = json.loads(world.run("predict", "--dataset", "base", "--json", TEXT).stdout)
    assert told["model"]["name"] == "base" and told["model"]["version"] is None
    assert told["answers"][0]["label"] == "positive"


def test_score_writes_its_name_without_a_version_and_logs_no_text_for_monitoring(world: World) -> None:
    (world.root / "in.csv").write_text(f"text\n{TEXT.replace(',', '')}\n")
    arguments = ("score", "in.csv", "-o", "out.parquet", "--dataset", "base")
    done = world.run(*arguments, SENTIFLOW_PREDICTION_LOG_DIR=str(world.root / "log"))
    assert done.returncode == 0, done.stderr
    assert f"Scored by {SAID}" in done.stdout
    (row,) = pq.read_table(world.root / "out.parquet").to_pylist()
    assert (row["label"], row["model"], row["version"]) == ("positive", "base", None)
    assert not (world.root / "log").exists()


def test_nothing_answers_with_it_unless_it_is_asked_for(world: World) -> None:
    (table := world.root / "in.csv").write_text("text\nfilm\n")
    for arguments in (("predict", TEXT), ("score", str(table), "-o", str(world.root / "out.csv"))):
        refused = refusal(*arguments)
        assert refused.exit_code == 2 and "--dataset base" in f"{refused} {refused.hint}"
        assert "No model is registered yet in sqlite:///" in str(refused)


def test_it_has_no_versions_and_nothing_is_trained_on_it(world: World) -> None:
    settings = world.settings
    with pytest.raises(UsageError, match="base has no versions"):
        find_version(settings, "base", 1)
    for command in ("train", "data", "sweep"):
        refused = refusal(command, "--dataset", "base")
        assert refused.exit_code == 2 and "base is the model that the package carries" in str(refused)


def test_every_path_of_the_service_says_what_answers(world: World) -> None:
    log = world.root / "log"
    variables = {"SENTIFLOW_PREDICTION_LOG_DIR": str(log)}
    with service.running(world, "--dataset", "base", **variables) as running, running.client() as http:
        told = http.get("/model").json()
        assert (told["name"], told["version"], told["run_id"]) == ("base", None, None)
        assert told["note"] == "trained on IMDB film reviews, not on yours"
        assert http.get("/readyz").json()["model"] == {"name": "base", "version": None}
        response = http.post("/predict", json={"text": TEXT})
        answer = response.json()
        assert answer["model"] == {"name": "base", "version": None}
        assert response.headers["X-Model-Version"] == "base"
        (score,) = load_scorer(world.settings, find_version(world.settings, "base", None)).score([TEXT])
        assert answer["predictions"][0] == {
            "label": "positive", "score": pytest.approx(score, abs=1e-9), "known": True,
        }  # fmt: skip
        shown = figures(http.get("/metrics").text)
        assert shown["sentiflow_model_info name=base version="] == 1
    assert not log.exists()
    assert any("base answers from now on." in line for line in running.lines)


def test_a_service_with_nothing_to_answer_with_names_it(world: World) -> None:
    with service.running(world) as running, running.client() as http:
        for path in ("/readyz", "/model"):
            response = http.get(path)
            assert response.status_code == 503 and "--dataset base" in response.text
