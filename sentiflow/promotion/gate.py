"""The gate: may a candidate replace the champion?

A pure function of two score tables and the candidate's cost. Both models have scored the same test reviews, so
their accuracies are compared review by review, with the interval that every other comparison shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sentiflow.evaluation.metrics import accuracy_of, at_chance, confusion
from sentiflow.evaluation.scores import BASELINE, ScoreTable, slices
from sentiflow.evaluation.statistics import (
    Comparison,
    compare,
    format_interval,
    format_p,
    format_points,
    newcombe,
)  # fmt: skip
from sentiflow.scoring import is_positive
from sentiflow.settings import Settings

REPRODUCED, LATENCY, AGAINST_BASELINE, DECLINE = "reproduced", "latency", "baseline", "no decline"  # rules
MEANING, ABOVE = "meaning", "above one answer"  # others
FEWEST = 20  # test reviews to judge on, of a first model, or where some are left out
OLD = "champion's test"  # name of a slice
RECENT = 400  # labelled texts in use, among the test reviews, to judge on

_FAVOUR = 0.01  # by which these make a candidate look better that is as good (docs/promotion.md)
_MIN_SLICE = 50  # reviews; smaller slices are not judged
_MIN_ACCURACY = 0.8  # where there is no baseline, and no other limit is set
# By which the champion answers 1 less often to reviews of label 1 than to the others. A bad one may be a little
# below guessing, and means the same.
_CLEAR = 0.1

Names = tuple[str, str]  # of 0 and of 1


@dataclass(frozen=True)
class Group:
    """Texts that are a slice of their own: which of them each model labels correctly, shape (n,)."""

    name: str
    candidate: NDArray[np.bool_]
    champion: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Cost:
    """Cost of the packaged model: median milliseconds for one text, and megabytes (10**6 bytes)."""

    latency_ms: float
    size_mb: float


@dataclass(frozen=True)
class Evidence:
    """What a candidate is judged by; both models have scored the same test reviews, in any order.

    Attributes:
        champion: None where there is none, or where it is ``silent``: why it has no scores.
        names: what the candidate and the champion call 0 and 1; None where there is none, or it is silent.
        reproduced: how the candidate's training came out again, ``identical`` or ``different``, or empty.
        learnt: which of the candidate's reviews are left out; None where no text can change sides.
        baseline: scores of the baseline, which the candidate must not be worse than, on what both have scored.
        recent: which of the candidate's reviews are labelled texts in use; None where there are none.
        groups: of a table of behaviour, or what the champion was tested on.
        declined: a person's no that stands.
        named: whether a person asked for this very version.
        notes: what is not known.
    """

    candidate: ScoreTable
    champion: ScoreTable | None
    cost: Cost
    silent: str = ""
    names: tuple[Names, Names] | None = None
    reproduced: str = ""
    learnt: NDArray[np.bool_] | None = None
    baseline: ScoreTable | None = None
    recent: NDArray[np.bool_] | None = None
    groups: Sequence[Group] = ()
    declined: str = ""
    named: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Rule:
    """One rule of the gate; the text says measurement, condition and limit in words."""

    name: str
    passed: bool
    number: float | None
    limit: float
    text: str

    @property
    def outcome(self) -> str:
        return "passed" if self.passed else "failed"

    @property
    def line(self) -> str:
        return f"{self.outcome}: {self.name}, {self.text}"


@dataclass(frozen=True)
class Decision:
    """The gate's outcome: passed when every rule holds; the notes say what was not judged, and why.

    It was judged on so many test ``reviews``; ``learnt`` more were left out, as one of the models has learnt from
    them.
    """

    rules: tuple[Rule, ...]
    accuracy: float
    champion_accuracy: float | None
    comparison: Comparison | None
    notes: tuple[str, ...]
    reviews: int = 0
    learnt: int = 0

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if not rule.passed)

    @property
    def refusal(self) -> str:
        names = ", ".join(rule.name for rule in self.failures)
        return f"{len(self.failures)} of {len(self.rules)} checks failed ({names})."

    def record(self) -> dict[str, Any]:
        return {"passed": self.passed, **asdict(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The decision of which this is the ``record``."""
        compared = record["comparison"] and Comparison(**record["comparison"])
        rules = tuple(Rule(**rule) for rule in record["rules"])
        made = {field.name: record[field.name] for field in fields(cls)}
        return cls(**made | {"rules": rules, "comparison": compared, "notes": tuple(record["notes"])})


def judge(evidence: Evidence, limits: Settings) -> Decision:
    """Compare a candidate with the limits, settings of the gate, and with the champion, if there is one."""
    given, left, enough, notes = _usable(evidence)
    accuracy = float(given.candidate.right.mean())
    simple = _against_baseline(given.candidate, given.baseline) if limits.gate_baseline else []
    compared, answers, told = _of_answers(given, limits, enough=enough)
    too_few = f"{left:,} that none of the compared has learnt from, at least {FEWEST}"
    rules = [
        *_minimum(accuracy, limits, floor=not simple),
        *simple,
        *([] if enough else [Rule("test reviews", False, left, FEWEST, too_few)]),
        *answers,
        _at_most(LATENCY, given.cost.latency_ms, limits.gate_latency_ms, "ms a text"),
        _at_most("size", given.cost.size_mb, limits.gate_size_mb, "MB"),
        *_reproduced(given, limits),
        *([Rule(DECLINE, False, None, 0.0, given.declined)] if given.declined else []),
    ]
    champion = float(given.champion.right.mean()) if given.champion and compared else None
    every = (*notes, *told, *given.notes)
    return Decision(tuple(rules), accuracy, champion, compared, every, left, len(evidence.candidate.label) - left)


def _usable(given: Evidence) -> tuple[Evidence, int, bool, list[str]]:
    """The evidence on the test reviews that nobody compared has learnt from, or on all where these are too few.

    Also how many they are, whether that is enough, and the notes.
    """
    champion = None if given.champion is None else given.champion.in_order_of(given.candidate)
    reviews = len(given.candidate.label)
    least = FEWEST if champion is None and not given.silent else min(FEWEST, reviews)
    if given.learnt is None:
        return replace(given, champion=champion), reviews, reviews >= least, []
    kept = ~given.learnt
    left = int(kept.sum())
    more = f"; {reviews - left:,} more were left out, as they were learnt from" if left < reviews else ""
    rows = kept if left >= least else np.ones(reviews, bool)
    usable = replace(
        given,
        candidate=given.candidate.take(rows),
        champion=None if champion is None else champion.take(rows),
        recent=None if given.recent is None else given.recent[rows],
    )
    return usable, left, left >= least, [f"Test reviews to judge on: {left:,}{more}."]


def _of_answers(
    given: Evidence, limits: Settings, *, enough: bool
) -> tuple[Comparison | None, list[Rule], list[str]]:
    """How candidate and champion compare, if they can be, and the rules and notes of their answers."""
    candidate, champion = given.candidate, given.champion
    if given.silent:
        return None, [Rule("better", False, None, 0.0 - limits.gate_margin, given.silent)], []
    if not enough:
        return None, [], ["Not judged by its answers: too few test reviews are left."]
    if champion is None:
        shares = (f"{each.name} {each.candidate.mean():.2%} of {len(each.candidate):,}" for each in given.groups)
        notes = [f"Texts of behaviour that are right: {'; '.join(shares)}."] if given.groups else []
        notes.append("First model: there is no champion to compare it with.")
        return None, _no_constant(candidate, named=given.named), notes
    if opposite := _turned(candidate, champion, given.names):
        note = "Not compared with the champion: what one has right, the other calls wrong."
        return None, [Rule(MEANING, False, None, 0.0, opposite)], [note]
    rules, notes = _against_champion(candidate, champion, limits, given.recent, given.groups)
    return compare(candidate.right, champion.right), rules, notes


def _reproduced(given: Evidence, limits: Settings) -> list[Rule]:
    text = f"{given.reproduced or 'not trained again'}, must be identical"
    identical = given.reproduced == "identical"
    return [Rule(REPRODUCED, identical, float(identical), 1.0, text)] if limits.gate_reproduced else []


def _against_champion(
    candidate: ScoreTable,
    champion: ScoreTable,
    limits: Settings,
    recent: NDArray[np.bool_] | None,
    groups: Sequence[Group],
) -> tuple[list[Rule], list[str]]:
    """The rules of all reviews, of labelled texts in use, of slices and groups; and what was not judged."""
    notes: list[str] = []
    newer = None
    if recent is not None and (count := int(recent.sum())) < RECENT:
        notes.append(f"Texts in use not judged ({count} of {RECENT} labelled test texts).")
    elif recent is not None:
        newer = compare(candidate.right[recent], champion.right[recent])
    rules = [_better(compare(candidate.right, champion.right), newer, limits)]
    if newer is not None:
        rules.append(_recent(newer, count))
    parts = slices(candidate, champion).items()
    cut = [Group(name, candidate.right[rows], champion.right[rows]) for name, rows in parts]
    for part in (*cut, *groups):
        if (count := len(part.candidate)) < _MIN_SLICE:
            notes.append(f"Slice {part.name} not checked: {count} reviews, at least {_MIN_SLICE} are needed.")
        elif part.champion is not None:
            rules.append(_slice(part.name, part.candidate, part.champion, limits))
    return rules, notes


def _minimum(accuracy: float, limits: Settings, *, floor: bool) -> list[Rule]:
    """The rule of the minimum accuracy: of the limits, else a fixed ``floor``, if there is to be one."""
    least = limits.gate_min_accuracy
    if least is None and not floor:
        return []
    least = _MIN_ACCURACY if least is None else least
    return [Rule("minimum accuracy", accuracy >= least, accuracy, least, f"{accuracy:.2%}, at least {least:.2%}")]


def _against_baseline(candidate: ScoreTable, baseline: ScoreTable | None) -> list[Rule]:
    """The rule of the baseline; none where no review was scored by both."""
    if baseline is None:
        return []
    ids = candidate.review_id, baseline.review_id
    _, mine, its = np.intersect1d(*ids, assume_unique=True, return_indices=True)
    if not len(mine):
        return []
    found = compare(candidate.right[mine], baseline.right[its])
    text = f"{_difference(found, BASELINE)}; must not be worse beyond chance"
    return [Rule(AGAINST_BASELINE, found.high >= 0, found.high, 0.0, text)]


def _no_constant(candidate: ScoreTable, *, named: bool) -> list[Rule]:
    """The rules that one answer for every review is not as good, and that it is worse beyond chance, or named."""
    if len(set(candidate.label.tolist())) < 2:
        return []
    if told := at_chance(candidate.label, candidate.score):
        return [Rule("better than one answer", False, None, 0.0, told)]
    found = accuracy_of(confusion(candidate.label, candidate.score))
    low, share = found.accuracy_ci_low, found.majority_share
    if low > share:
        return []
    text = f"{found.accuracy:.2%} (from {low:.2%}); one answer for all gets {share:.2%}: only for whoever names it"
    return [Rule(ABOVE, named, low, share, text)]


def _better(every: Comparison, newer: Comparison | None, limits: Settings) -> Rule:
    """The rule that the candidate gains: on all test reviews, or on texts in use without losing on all.

    A candidate that learnt from a few thousand new texts gains little on a large old test.
    """
    least = 0.0 - limits.gate_margin  # not -0.0
    text = _difference(every, "the champion")
    if newer is not None and every.low <= least and newer.low > _FAVOUR and every.high >= 0:
        text = f"on labelled texts in use {_difference(newer, 'the champion')}; on all {text}"
        must = "must be better on all, or by more than 1 point on these and not worse on all"
        return Rule("better", True, newer.low, _FAVOUR, f"{text}; {must}")
    must = "must be better beyond chance" if least == 0 else f"the interval must lie above {format_points(least)}"
    return Rule("better", every.low > least, every.low, least, f"{text}; {must}")


def _recent(newer: Comparison, count: int) -> Rule:
    """The rule that the candidate does not lose on the labelled texts in use."""
    text = (
        f"on {count:,} labelled texts in use {_difference(newer, 'the champion')}; must not be worse beyond chance"
    )
    return Rule("recent", newer.high >= 0, newer.high, 0.0, text)


def _difference(found: Comparison, other: str) -> str:
    """How much better or worse the candidate is than another, in points, with the interval."""
    word = "worse" if found.difference < 0 else "better"
    points = f"{100 * abs(found.difference):.2f} points {word} than" if found.difference else "as good as"
    interval, p = format_interval(found.low, found.high), format_p(found.p_value)
    return f"{points} {other} (95% interval {interval}, p {p if p.startswith('<') else f'= {p}'})"


def _slice(name: str, candidate: NDArray[np.bool_], champion: NDArray[np.bool_], limits: Settings) -> Rule:
    # By counts: the difference of two means may differ from the limit by a rounding error.
    change = (int(candidate.sum()) - int(champion.sum())) / len(candidate)
    least = 0.0 - limits.gate_slice_margin
    text = f"{100 * change:+.2f} points on its {len(candidate):,} reviews, at least {100 * least:+.2f} points"
    found = compare(candidate, champion)
    by_chance = change < least and found.high >= 0
    if by_chance:
        text = f"{text} (by chance: 95% interval {format_interval(found.low, found.high)})"
    return Rule(f"slice {name}", change >= least or by_chance, change, least, text)


def _at_most(name: str, number: float, limit: float, unit: str) -> Rule:
    measured, most = (f"{each:,.{max(3, len(f'{each:.0f}'))}g} {unit}" for each in (number, limit))
    return Rule(name, number <= limit, number, limit, f"{measured}, at most {most}")


def _turned(candidate: ScoreTable, champion: ScoreTable, names: tuple[Names, Names] | None) -> str:
    """What to say where the candidate means by 1 what the champion means by 0; empty where it does not.

    Both have scored the same reviews in the same order, whose labels mean what the candidate's do. The ``names``
    decide, the candidate's first, where more of their parts changed places than stayed; else the champion's
    answers do, whatever the names are. Names that are not given are the same ones.
    """
    called = f'its 1 is "{names[0][1]}", the champion\'s "{names[1][1]}"' if names else "both call 1 the same"
    if names and _changed_places(*names):
        return f"{called}: the names changed places"
    answers, ones = is_positive(champion.score), candidate.label == 1
    if ones.all() or not ones.any():
        return ""
    _, most = newcombe(int(answers[ones].sum()), int(ones.sum()), int(answers[~ones].sum()), int((~ones).sum()))
    if most >= -_CLEAR:
        return ""
    opposite, right = int((answers != is_positive(candidate.score)).sum()), int(champion.right.sum())
    told = f"they answer {opposite:,} of {len(ones):,} reviews the opposite way"
    return f"{called}: {told}, and the champion has {right:,} right"


def _changed_places(one: Names, other: Names) -> bool:
    (zero, first), (other_zero, other_first) = ([*map(_parts, names)] for names in (one, other))
    return len(zero & other_first) + len(first & other_zero) > len(zero & other_zero) + len(first & other_first)


def _parts(name: str) -> set[str]:
    """The names of a table that make one of an answer: ``praise or thanks``."""
    return {part.strip().casefold() for part in name.split(" or ")}
