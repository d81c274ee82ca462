"""N-grams beside a network, against sums by hand and a dictionary of words."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from sentiflow.batch.worker import BulkScorer
from sentiflow.scoring import NGrams, TextScorer, Vocabulary, Weights
from sentiflow.scoring.ngrams import CHUNK, Table, occurrences

SHAPES = (7, 4), (4, 3), (3, 3), (3,), (3, 1), (1,)
WORDS = Vocabulary(("good", "bad", "not", "film", "rare"))  # ids 4 to 8; the network knows 4 to 6
GOOD, BAD, NOT, FILM = 4, 5, 6, 7


def key(*ids: int) -> int:
    return sum(word << (21 * back) for back, word in enumerate(reversed(ids)))


WEIGHTS = {
    key(GOOD): 1.0, key(BAD): -2.0, key(FILM): 0.5, key(NOT, GOOD): -3.0, key(NOT, BAD): 1.5,
    key(GOOD, NOT, BAD): 0.75,
}  # fmt: skip
NGRAMS = NGrams(
    np.array(sorted(WEIGHTS)), np.array([WEIGHTS[each] for each in sorted(WEIGHTS)], np.float32), 0.1, 0.4
)


@pytest.fixture(params=[1, 2])
def scorer(request: pytest.FixtureRequest) -> TextScorer:
    rng = np.random.default_rng(0)
    members = [
        Weights(*(rng.normal(size=shape).astype(np.float32) for shape in SHAPES)) for _ in range(request.param)
    ]
    return TextScorer(Weights.together(members), WORDS, 4, ngrams=NGRAMS)


TEXTS = ["not good film", "good", "", "good not bad, not bad film " * 3, "unheard", "rare film", "film " * 9]


def by_dictionary(text: str) -> float:
    """The log-odds of a text: each of its n-grams once."""
    ids = WORDS.encode(text)[1:]
    held = {key(*ids[i : i + n]) for n in (1, 2, 3) for i in range(len(ids) - n + 1)}
    return 0.1 + sum(WEIGHTS.get(each, 0.0) for each in held)


def test_keys_texts_and_places_by_hand() -> None:
    keys, text, end = occurrences([[1, GOOD, BAD], [1], [NOT, 2, GOOD]], 3)
    found = sorted(zip(text.tolist(), end.tolist(), keys.tolist(), strict=True))
    # A word out of the vocabulary stands between no neighbours: not and good are a pair.
    assert found == [
        (0, 1, key(GOOD)), (0, 2, key(BAD)), (0, 2, key(GOOD, BAD)), (2, 4, key(NOT)), (2, 6, key(GOOD)),
        (2, 6, key(NOT, GOOD)),
    ]  # fmt: skip


def test_a_table_finds_what_a_dictionary_finds() -> None:
    rng = np.random.default_rng(1)
    keys = np.unique(rng.integers(4, 2**62, 5_000))
    asked = np.concatenate([keys[::7], rng.integers(4, 2**62, 2_000)])
    columns = {each: number for number, each in enumerate(keys.tolist())}
    assert Table(keys).columns(asked).tolist() == [columns.get(each, -1) for each in asked.tolist()]
    assert Table(keys[:0]).columns(asked).max() == -1


def test_log_odds_are_those_of_a_dictionary_in_any_company() -> None:
    many = [WORDS.encode(TEXTS[number % len(TEXTS)]) for number in range(CHUNK + 3)]
    expected = [by_dictionary(TEXTS[number % len(TEXTS)]) for number in range(CHUNK + 3)]
    found = NGRAMS.log_odds(many)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found.tolist() == [float(NGRAMS.log_odds([each])[0]) for each in many]
    assert NGRAMS.log_odds([]).shape == (0,)


def test_a_score_is_the_mean_of_each_member_with_the_n_grams(scorer: TextScorer) -> None:
    expected = []
    for text in TEXTS:
        alone = [replace(scorer, weights=replace(each, others=()), ngrams=None) for each in scorer.arrays.members]
        odds = [0.4 * np.log(score / (1 - score)) for score in (each.score([text])[0] for each in alone)]
        expected.append(np.mean([1 / (1 + np.exp(-each - by_dictionary(text))) for each in odds]))
    assert scorer.score(TEXTS) == pytest.approx(expected, abs=1e-9)


def test_bulk_scores_are_the_same(scorer: TextScorer) -> None:
    np.testing.assert_allclose(BulkScorer(scorer).score(TEXTS), scorer.score(TEXTS), rtol=0, atol=1e-14)
    assert BulkScorer(scorer).score([]).shape == (0,)


def test_an_n_gram_is_shared_by_its_words_where_it_stands_first() -> None:
    shares = NGRAMS.shares([1, NOT, GOOD, NOT, BAD, NOT, GOOD]).tolist()
    third = 0.75 / 3
    assert shares == pytest.approx([0, -1.5, 1 - 1.5 + third, 0.75 + third, -2 + 0.75 + third, 0, 0])


@pytest.mark.parametrize("text", TEXTS)
def test_the_words_of_an_explanation_add_up_to_the_score(scorer: TextScorer, text: str) -> None:
    found = scorer.explain(text)
    assert found.score == pytest.approx(scorer.score([text])[0], abs=1e-12)
    assert found.start + sum(word.change for word in found.words) == pytest.approx(found.score, abs=1e-12)


def test_words_that_n_grams_hold_are_read_though_the_network_does_not(scorer: TextScorer) -> None:
    found = scorer.explain("film rare good good good good good")  # 4 ids are read; film and rare are beyond them
    assert [word.status for word in found.words[:3]] == ["read", "cut", "read"]


def test_files_come_back_with_the_same_digest_which_depends_on_every_part(
    scorer: TextScorer, tmp_path: Path
) -> None:
    assert set(scorer.save(tmp_path).values()) == set(tmp_path.iterdir())
    loaded = TextScorer.load(tmp_path)
    assert loaded.digest == scorer.digest
    assert loaded.has_digest(scorer.digest)
    assert loaded.score(TEXTS).tolist() == scorer.score(TEXTS).tolist()
    changed = [
        None, replace(NGRAMS, constant=0.2), replace(NGRAMS, network=0.5),
        replace(NGRAMS, weights=NGRAMS.weights * 2),
        NGrams(NGRAMS.keys + 1, NGRAMS.weights, 0.1, 0.4),
    ]  # fmt: skip
    assert len({scorer.digest, *(replace(scorer, ngrams=each).digest for each in changed)}) == 6


def test_damaged_files_are_refused(scorer: TextScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    file = tmp_path / "ngrams.npz"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", whole.replace(b"constant", b"constans")):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"ngrams\.npz"):
            TextScorer.load(tmp_path)
    entries = NGRAMS.entries()
    for name, value in product(["ngram_keys", "ngram_weights"], [np.zeros(2), np.full(6, np.nan, np.float32)]):
        np.savez(file, **{**entries, name: value})
        with pytest.raises(ValueError, match=r"n-grams|ngrams\.npz"):
            TextScorer.load(tmp_path)
