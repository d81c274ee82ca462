"""A Keras model of a user's own in place of a recipe's network."""

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import sentiflow as sf
from examples.gru import gru
from sentiflow.errors import UsageError
from sentiflow.reproduction import find_original
from sentiflow.scoring import OwnNetwork, TextScorer, Vocabulary, pad
from sentiflow.settings import Settings
from sentiflow.store.find import load_scorer
from sentiflow.store.records import Version
from sentiflow.training.network.own import seeded
from tests.sentiflow.serving.service import running
from tests.world import World

WORDS = Vocabulary(["good", "bad", "film", "the"])
SMALL: dict[str, Any] = {"epochs": 1, "sequence_length": 12, "vocabulary_size": 200}


def saved(network: keras.Model, folder: Path) -> TextScorer:
    network.save(folder / "model.keras")
    return TextScorer(OwnNetwork((folder / "model.keras").read_bytes(), 7), WORDS, 12)


def test_its_scores_are_keras_own_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    network = gru(7, 12)
    scorer = saved(network, tmp_path)
    texts = ["good film", "bad", "", "the the film " * 9] * 10
    by_keras = network.predict(pad([WORDS.encode(text) for text in texts], 12, 7), verbose=0)[:, 0]
    assert scorer.score(texts) == pytest.approx(by_keras, abs=1e-6)
    assert scorer.score(texts[:3]).tolist() == scorer.score(texts)[:3].tolist()


def test_its_files_are_read_again_and_its_digest_is_of_layers_and_arrays(tmp_path: Path) -> None:
    network = gru(7, 12)
    scorer = saved(network, tmp_path)
    scorer.save(tmp_path)
    assert TextScorer.load(tmp_path).digest == scorer.digest
    assert saved(keras.models.clone_model(network), tmp_path).digest != scorer.digest  # other first weights
    network.layers[-1].set_weights([np.zeros_like(each) for each in network.layers[-1].get_weights()])
    assert saved(network, tmp_path).digest != scorer.digest


def test_its_first_weights_are_the_seeds_whatever_other_threads_draw() -> None:
    def weights(seed: int) -> Any:
        with seeded(seed):
            return gru(7, 12).layers[1].get_weights()[0].ravel().tolist()

    alone, done = weights(3), threading.Event()

    def draw() -> None:
        while not done.is_set():
            random.random()  # noqa: S311 - as a client does that waits before it asks again

    other = threading.Thread(target=draw)
    other.start()
    try:
        assert [weights(3) for _ in range(3)] == [alone] * 3
    finally:
        done.set()
        other.join()
    assert weights(4) != alone


def embedded(*layers: keras.layers.Layer) -> Callable[[int, int], keras.Model]:
    def build(words: int, length: int) -> keras.Model:
        return keras.Sequential([keras.Input((length,), dtype="int32"), keras.layers.Embedding(words, 2), *layers])

    return build


class Own(keras.layers.Layer):  # type: ignore[misc]
    def call(self, given: Any) -> Any:
        return given


WRONG: dict[str, Any] = {
    "no Keras model": lambda _words, _length: None,
    "the shape": embedded(keras.layers.Flatten(), keras.layers.Dense(2)),
    "not probabilities": embedded(keras.layers.Flatten(), keras.layers.Dense(1), keras.layers.Rescaling(1, 5)),
    "No other process": embedded(keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid"), Own()),
}


@pytest.mark.story
@pytest.mark.parametrize("why", WRONG)
def test_what_is_no_such_model_is_refused_before_it_is_trained(
    world: World, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    world.enter(monkeypatch)
    with pytest.raises(UsageError, match=why):
        sf.train("sample", build=WRONG[why], **SMALL)


def test_what_it_has_no_use_for_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.enter(monkeypatch)
    for wrong in ({"units": 3}, {"recipe": "tuned"}, {"start_from": "base"}):
        with pytest.raises(UsageError):
            sf.train("sample", build=gru, **wrong)  # type: ignore[arg-type]


def find_scorer(version: str, settings: Settings) -> TextScorer:
    name, _, number = version.partition("/")
    return load_scorer(settings, Version(name, int(number), ""))


@pytest.mark.story
def test_it_is_trained_registered_judged_and_used_as_any_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.enter(monkeypatch)
    run = sf.train("sample", build=gru, **SMALL)
    again = sf.train("sample", build=gru, **SMALL)
    digests = {find_scorer(each.version, world.settings).digest for each in (run, again)}
    assert len(digests) == 1  # the same seed gives the same weights
    assert sf.promote(run, force=True, reason="to serve it").answer
    stock = sf.train("sample", recipe="tutorial", epochs=1, sequence_length=12)
    assert sf.compare(run, stock)._repr_html_()
    with pytest.raises(UsageError, match="not explained"):
        sf.load("sample@champion").explain("good")
    with pytest.raises(UsageError, match="gru"):
        find_original(run.run_id, world.settings)

    texts = ["A wonderful film.", "Two hours I will never get back."]
    expected = sf.load(run.version).predict(texts)["score"].tolist()
    predicted = json.loads(world.run("predict", "--dataset", "sample", "--json", *texts).stdout)
    assert [each["score"] for each in predicted["answers"]] == pytest.approx(expected, abs=1e-6)
    assert world.run("predict", "--dataset", "sample", "--explain", "good").returncode == 2
    table = world.root / "texts.csv"
    table.write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    done = world.run("score", str(table), "--dataset", "sample", "-o", str(world.root / "scored.csv"))
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(world.root / "scored.csv")["score"].tolist() == pytest.approx(expected, abs=1e-6)
    with running(world, "--dataset", "sample") as service, service.client() as http:
        (answer,) = http.post("/predict", json={"text": texts[0]}).json()["predictions"]
        assert answer["score"] == pytest.approx(expected[0], abs=1e-6)
        assert http.post("/explain", json={"text": "good"}).status_code == 409
