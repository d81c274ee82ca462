"""Tests of the scorer of raw texts."""

import hashlib
import importlib
import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from sentiflow.scoring import Network, NewerFormatError, TextScorer, Vocabulary, Weights, is_positive

module = importlib.import_module("sentiflow.scoring.scorer")

WORDS = ("good", "bad", "film", "plot", "rare")  # ids 4 to 8; the network below knows 4 to 7
TEXTS = [
    "good film",
    "BAD, bad film!",
    "",
    "plot",
    "rare plot",
    "unheard of",
    "good " * 30,
    "bad good bad good film",
]


@pytest.fixture(scope="module")
def scorer() -> TextScorer:
    rng = np.random.default_rng(5)
    shapes = (8, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    weights = Weights(*(rng.normal(0, 0.8, shape).astype(np.float32) for shape in shapes))
    return TextScorer(weights, Vocabulary(WORDS), sequence_length=6)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Good film.", [0, 0, 0, 1, 4, 6]),
        ("", [0, 0, 0, 0, 0, 1]),
        ("unheard of", [0, 0, 0, 0, 0, 1]),
        ("rare plot", [0, 0, 0, 1, 2, 7]),  # known to the vocabulary, not to the network
        ("bad film, bad plot, good plot, bad film", [5, 7, 4, 7, 5, 6]),  # the last six
    ],
)
def test_a_text_scores_as_its_ids(scorer: TextScorer, text: str, ids: list[int]) -> None:
    assert scorer.score([text])[0] == Network(scorer.weights).score(np.array([ids], np.int32))[0]


def test_many_texts_over_the_batch_boundary_equal_one_by_one(
    scorer: TextScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 3)
    alone = [scorer.score([text])[0] for text in TEXTS]  # 8 texts: batches of 3, 3 and 2
    np.testing.assert_allclose(scorer.score(TEXTS), alone, rtol=0, atol=1e-14)


def test_no_texts_give_no_scores(scorer: TextScorer) -> None:
    assert scorer.score([]).shape == (0,)


@pytest.mark.parametrize("wrong", [None, 3, 2.5, b"good", ["good"], float("nan")])
def test_an_item_that_is_no_text_is_refused_by_type(scorer: TextScorer, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"got {type(wrong).__name__}"):
        scorer.score(["good", wrong])  # type: ignore[list-item]


def test_a_loaded_scorer_has_the_words_and_length_of_the_saved_one_and_scores_exactly_so(
    scorer: TextScorer, tmp_path: Path
) -> None:
    scorer.save(tmp_path)
    loaded = TextScorer.load(tmp_path)
    assert (loaded.vocabulary.words, loaded.sequence_length) == (WORDS, 6)
    np.testing.assert_array_equal(loaded.score(TEXTS), scorer.score(TEXTS))
    words = ("café", "a\x85b", "映画", "it's", "\xa0")
    TextScorer(scorer.weights, Vocabulary(words), 6).save(tmp_path)
    assert TextScorer.load(tmp_path).vocabulary.words == words


@pytest.mark.parametrize("length", [1, 5_000])
def test_the_shortest_and_the_longest_length_are_read(scorer: TextScorer, tmp_path: Path, length: int) -> None:
    replace(scorer, sequence_length=length).save(tmp_path)
    assert TextScorer.load(tmp_path).sequence_length == length


def test_the_digest_is_another_for_other_weights_words_length_or_names(scorer: TextScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    assert TextScorer.load(tmp_path).digest == scorer.digest
    assert len(bytes.fromhex(scorer.digest)) == 32
    others = [
        replace(scorer, weights=replace(scorer.weights, dense_bias=scorer.weights.dense_bias + 1)),
        replace(scorer, vocabulary=Vocabulary((*WORDS[:-1], "scarce"))),
        replace(scorer, sequence_length=7),
        replace(scorer, label_names=("positive", "negative")),
    ]
    assert len({scorer.digest, *(each.digest for each in others)}) == 5


def test_save_writes_nothing_but_what_it_returns(scorer: TextScorer, tmp_path: Path) -> None:
    assert set(scorer.save(tmp_path).values()) == set(tmp_path.iterdir())


@pytest.mark.parametrize("given", [{"format": 2}, {"format": True}, {"format": "4"}, {}])
def test_an_unknown_format_is_refused(scorer: TextScorer, tmp_path: Path, given: dict[str, object]) -> None:
    scorer.save(tmp_path)
    config = {"sequence_length": 6, **given}
    (tmp_path / "scorer.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="reads 3 to 6") as refused:
        TextScorer.load(tmp_path)
    assert not isinstance(refused.value, NewerFormatError)


def test_a_newer_format_names_the_version_that_wrote_it(scorer: TextScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    config = json.loads((tmp_path / "scorer.json").read_text(encoding="utf-8"))
    assert config["sentiflow"] == version("sentiflow")
    (tmp_path / "scorer.json").write_text(
        json.dumps({**config, "format": 7, "sentiflow": "1.7.0"}), encoding="utf-8"
    )
    with pytest.raises(
        NewerFormatError, match=r"format 7, this Sentiflow reads 3 to 6; written by Sentiflow 1\.7\.0"
    ):
        TextScorer.load(tmp_path)


def test_format_3_is_read_with_the_digest_that_was_written_with_it(scorer: TextScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    (tmp_path / "scorer.json").write_text('{"format": 3, "sequence_length": 6}', encoding="utf-8")
    loaded = TextScorer.load(tmp_path)
    state = hashlib.sha256(("6\n" + "\n".join(WORDS)).encode())
    for name, value in scorer.weights.entries().items():
        state.update(name.encode() + value.tobytes())
    assert loaded.digest == state.hexdigest() != scorer.digest
    assert loaded.label_names == ("negative", "positive")
    # Of the same weights, trained again: the names that a table of now has were in no digest then.
    named = replace(scorer, label_names=("1 or 2", "4 or 5"))
    assert named.has_digest(loaded.digest) and named.has_digest(named.digest)
    assert not named.has_digest(scorer.digest) and not named.has_digest(None)


CONFIG = '{"format": 4, "sequence_length": %s}'
NAMED = '{"format": 4, "sequence_length": 6, "label_names": %s}'
BROKEN = [
    ("scorer.json", "[]", "format"),
    ("scorer.json", '{"format": 4', "damaged"),
    ("scorer.json", '{"format": [4], "sequence_length": 6}', "format"),
    ("scorer.json", CONFIG % "5001", "sequence_length"),
    ("scorer.json", CONFIG % "6", "two different names"),
    ("scorer.json", NAMED % '["a", "a"]', "two different names"),
    ("scorer.json", NAMED % '["a", "b\\u001b[2J"]', "two different names"),
    ("scorer.json", NAMED % f'["a", "{"b" * 61}"]', "two different names"),
    ("vocabulary.json", "null", "list of words"),
    ("vocabulary.json", '["\\ud800"]', "surrogates not allowed"),
    ("vocabulary.json", "[" * 100_000, "damaged"),
    ("vocabulary.json", '["good", "good"]', "twice"),
]


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize(
    ("name", "content", "told"), BROKEN, ids=[f"{name} {content[:50]}" for name, content, _ in BROKEN]
)
def test_a_broken_file_is_told_as_such(
    scorer: TextScorer, tmp_path: Path, name: str, content: str, told: str
) -> None:
    """Red if any other error got past who loads: it would be told as a bug."""
    scorer.save(tmp_path)
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        TextScorer.load(tmp_path)


@pytest.mark.parametrize("name", ["weights.npz", "vocabulary.json", "scorer.json"])
def test_a_missing_file_is_named(scorer: TextScorer, tmp_path: Path, name: str) -> None:
    scorer.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(OSError, match=name):
        TextScorer.load(tmp_path)


@pytest.mark.parametrize(
    "names", [("complaint", "Praise!"), ("жалоба", "похвала"), ("1", "5"), ("b" * 60, "می\u200cخواهم")]
)
def test_names_of_labels_survive_save_and_load(scorer: TextScorer, tmp_path: Path, names: tuple[str, str]) -> None:
    replace(scorer, label_names=names).save(tmp_path)
    assert TextScorer.load(tmp_path).label_names == names


def test_a_score_on_the_threshold_is_not_positive(scorer: TextScorer) -> None:
    scores = np.array([0.0, 0.5, np.nextafter(0.5, 1), 1.0])
    assert is_positive(scores).tolist() == [False, False, True, True]
    assert [scorer.label_of(score) for score in scores] == ["negative", "negative", "positive", "positive"]
    named = replace(scorer, label_names=("complaint", "praise"))
    assert [named.label_of(score) for score in scores] == ["complaint", "complaint", "praise", "praise"]


def test_neutral_is_a_third_answer_where_it_is_asked_for(scorer: TextScorer, tmp_path: Path) -> None:
    unsure = replace(scorer, neutral=(0.25, 0.75))
    assert unsure.digest != scorer.digest
    unsure.save(tmp_path)
    loaded = TextScorer.load(tmp_path)
    assert (loaded.neutral, loaded.digest) == ((0.25, 0.75), unsure.digest)
    asked = [loaded.label_of(score, with_neutral=True) for score in (0.25, 0.26, 0.75, 0.76)]
    assert asked == ["negative", "neutral", "neutral", "positive"]
    assert [loaded.label_of(score) for score in (0.26, 0.75)] == ["negative", "positive"]
    assert scorer.label_of(0.4, with_neutral=True) == "negative"


@pytest.mark.parametrize("limits", [[0.6, 0.7], [0.2], [-0.1, 0.7], [0.2, float("nan")], "0.2 0.7", [0, 1]])
def test_limits_that_cannot_be_are_refused(scorer: TextScorer, tmp_path: Path, limits: object) -> None:
    scorer.save(tmp_path)
    config = json.loads((tmp_path / "scorer.json").read_text())
    (tmp_path / "scorer.json").write_text(json.dumps({**config, "neutral": limits}))
    with pytest.raises(ValueError, match="two limits around"):
        TextScorer.load(tmp_path)
