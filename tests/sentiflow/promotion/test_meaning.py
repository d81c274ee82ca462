"""Two versions that mean the opposite by 1 are not compared, whatever they call it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sentiflow.evaluation.scores import ScoreTable
from sentiflow.promotion.gate import Decision
from tests.sentiflow.promotion.test_gate import CHEAP, LOOSE, judge

OPPOSITE = ("no", "yes"), ("gut", "schlecht")  # translated: no part of one is in the other


def answering(right: int, n: int = 400, *, turned: bool = False) -> ScoreTable:
    """Scores of reviews whose labels alternate, the first of which are answered right, or all the other way."""
    labels = np.arange(n) % 2
    answers = np.where(np.arange(n) < right, labels, 1 - labels)
    scores = np.where((1 - answers) if turned else answers, 0.9, 0.1)
    ids = np.array([f"test/{i}" for i in range(n)])
    return ScoreTable(ids, labels.astype(np.int8), scores, np.full(n, 100, np.int32), 500)


def judged(candidate: ScoreTable, champion: ScoreTable, names: Any = OPPOSITE) -> Decision:
    return judge(candidate, champion, CHEAP, LOOSE, names=names)


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [
        (("complaint", "praise or thanks"), ("praise", "complaint")),
        (("Bad", "Good"), ("good", "bad")),
        (("1 or 2", "4 or 5"), ("3 or 4 or 5", "1 or 2")),
    ],
)
def test_names_that_changed_places_are_refused_though_the_answers_agree(
    candidate: tuple[str, str], champion: tuple[str, str]
) -> None:
    decision = judged(answering(380), answering(300), (candidate, champion))
    (failed,) = decision.failures
    assert failed.name == "meaning" and candidate[1] in failed.text and champion[1] in failed.text
    assert decision.comparison is None


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [
        (("1 or 2", "3 or 4 or 5"), ("1 or 2 or 3", "4 or 5")),  # the limit moved
        (("bad", "good"), ("negative", "positive")),
        (("a", "b"), ("a", "b")),
        (("bad or fair", "good"), ("fair", "good")),
    ],
)
def test_other_names_of_the_same_meaning_are_compared(
    candidate: tuple[str, str], champion: tuple[str, str]
) -> None:
    assert judged(answering(380), answering(300), (candidate, champion)).passed


def test_answers_that_are_opposite_are_refused_with_both_names() -> None:
    """Red if a champion of the other meaning, right on a fifth of the reviews, is beaten by 75 points."""
    candidate, champion = answering(380), answering(320, turned=True)
    assert (candidate.right.mean(), champion.right.mean()) == (0.95, 0.2)
    for names, called in ((OPPOSITE, ("yes", "schlecht")), ((("no", "yes"),) * 2, ("yes",)), (None, ())):
        (failed,) = judged(candidate, champion, names).failures
        assert failed.name == "meaning"
        assert all(f'"{name}"' in failed.text for name in called)
        # Both right or wrong by their own meaning: 320 and 20.
        assert "340 of 400 reviews" in failed.text and "80 right" in failed.text
    useless = replace(candidate, score=answering(400).score[np.random.default_rng(1).permutation(400)])
    assert "meaning" in {rule.name for rule in judged(useless, champion).failures}  # not 30 points better


def test_a_champion_that_guesses_or_knows_one_answer_only_is_replaced() -> None:
    """Red if a bad champion counts as a turned one: it answers the half, or less, as the candidate does."""
    candidate = answering(390)
    guessing = replace(candidate, score=answering(200).score[np.random.default_rng(1).permutation(400)])
    few = answering(400).take(np.arange(400) % 10 < 4 + np.arange(400) % 2 * 6)  # 200 of 1, 80 of 0
    constant = replace(few, score=np.full(len(few.label), 0.1))
    assert judged(candidate, guessing).passed
    assert constant.right.mean() < 0.4
    assert judged(few, constant).passed


def test_two_that_guess_are_not_turned_though_one_answers_the_opposite_of_the_other() -> None:
    """Red if networks that learnt nothing, whose answers hang on the length alone, had another meaning."""
    candidate = answering(200)
    other = replace(candidate, score=1 - candidate.score)
    assert "meaning" not in {rule.name for rule in judged(candidate, other).failures}


def test_a_candidate_that_is_a_little_worse_than_guessing_is_bad_and_not_turned() -> None:
    decision = judged(answering(180), answering(400))  # 45%
    assert "better" in {rule.name for rule in decision.failures} and decision.comparison is not None
