"""Tests of test texts that are nearly equal to learnt ones."""

import numpy as np
import pandas as pd
import pytest

from sentiflow.data import division, reviews
from sentiflow.data.division import NEAR_SHARE, nearest_learnt
from sentiflow.data.prepare import fetch, prepare
from sentiflow.settings import load_settings
from tests.world import World

WORDS = [f"w{k}" for k in range(4_000)]


def shared(one: list[str], other: list[str]) -> float:
    """By sets of words, the second route."""
    mine, theirs = ({tuple(text[k : k + 3]) for k in range(len(text) - 2)} for text in (one, other))
    return len(mine & theirs) / max(len(mine), len(theirs), 1)


def nearest(texts: list[list[str]], tests: list[bool]) -> list[int]:
    numbers = {word: k for k, word in enumerate(dict.fromkeys(word for text in texts for word in text))}
    arrays = [np.array([numbers[word] for word in text], np.int32) for text in texts]
    return nearest_learnt(arrays, np.array(tests, bool)).tolist()


@pytest.mark.story
def test_constructed_pairs_are_found_as_by_comparing_all_and_nothing_else_is_said() -> None:
    """Of 400 test texts up to 12 words are changed: of pairs that share nine tenths 97% are found, at least."""
    draw = np.random.default_rng(5)
    learnt = [draw.choice(WORDS, draw.integers(5, 250)).tolist() for _ in range(600)]
    tested = [list(learnt[k]) for k in range(400)]
    for text in tested:
        for place in draw.integers(len(text), size=draw.integers(1, 13)):
            text[place] = str(draw.choice(WORDS))
    found = nearest([*learnt, *tested], [False] * 600 + [True] * 400)[600:]
    by_all = {k for k, text in enumerate(tested) if max(shared(text, other) for other in learnt) >= NEAR_SHARE}
    said = {k for k, place in enumerate(found) if place >= 0}
    assert said <= by_all and all(shared(tested[k], learnt[found[k]]) >= NEAR_SHARE for k in said)
    assert 100 < len(by_all) < 300
    assert len(said) >= 0.97 * len(by_all)


@pytest.mark.parametrize(
    ("learnt", "tested", "is_near"),
    [
        ("a b c d e f g h i j k l", "a b c d e f g h i j k l m", True),  # 10 of 11 triples
        ("a b c d e f g h i", "a b c d e f g h i j", False),  # 7 of 8
        ("a b c d e f", "a b c d e f g", False),  # 4 of 5
        ("a b c d e", "a b c d e", True),
        ("a b c d a b c d", "a b c d a b c", True),  # the same four, some of them twice
        ("a b a b a", "b a b a b", True),  # the same two triples
        ("a b c d", "a b c d", False),  # too short to tell
        ("a b c d e f g h i j k l", "l k j i h g f e d c b a", False),
    ],
)
def test_the_share_is_of_the_different_triples_of_the_text_with_more(
    learnt: str, tested: str, is_near: bool
) -> None:
    assert nearest([learnt.split(), tested.split()], [False, True]) == [-1, 0 if is_near else -1]
    if is_near:
        assert shared(learnt.split(), tested.split()) >= NEAR_SHARE


def test_tables_of_one_side_or_of_short_texts_have_no_such_pair() -> None:
    text = ["a", "b", "c", "d", "e"]
    for texts, tests in (([], []), ([text, text], [True, True]), ([["a"], []], [True, False])):
        assert nearest(texts, tests) == [-1] * len(texts)


@pytest.mark.parametrize(("near_ones", "tells"), [(4, False), (5, True)])
def test_more_than_a_tenth_of_the_test_is_told_with_two_examples(
    world: World, near_ones: int, tells: bool
) -> None:
    """Of 40 test reviews; three have the other label."""
    draw = np.random.default_rng(1)
    rows = [(" ".join(draw.choice(WORDS, 30)), k % 2, "train") for k in range(60)]
    rows += [(f"{rows[k][0]}, Indeed!\n", int(k < 3) ^ k % 2, "test") for k in range(near_ones)]
    rows += [(" ".join(draw.choice(WORDS, 30)), k % 2, "test") for k in range(40 - near_ones)]
    table = world.root / "near.csv"
    pd.DataFrame(rows, columns=["text", "label", "split"]).to_csv(table, index=False)
    settings = load_settings()
    made = prepare(fetch(str(table), settings), settings).table
    content = reviews.read(made)
    ids = dict(zip(content.review_id.tolist(), content.near.tolist(), strict=True))
    assert sum(map(bool, ids.values())) == sum(map(bool, content.of("test").near.tolist())) == near_ones
    said = division.warnings(made)
    assert len(said) == tells
    if tells:
        assert "5 of 40 test reviews share 90% of their word triples with learnt ones (3 of these have" in said[0]
        shown = said[0].split('"')
        assert len(shown) == 9
        for one, other in (shown[1:4:2], shown[5:8:2]):
            assert one.removesuffix("...")[:60] == other[:60] != ""
