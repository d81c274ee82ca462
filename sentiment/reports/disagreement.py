"""Reviews on which runs disagree, and those that all of them get wrong.

Shapes: k runs, n test reviews.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment import readings
from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Markup, Table, Text
from sentiment.reports.errors import quote
from sentiment.reports.misses import Miss, word_of
from sentiment.scoring import is_positive

MOST = 8  # reviews shown


@dataclass(frozen=True)
class Together:
    """Runs that have scored the same reviews.

    Attributes:
        accounts: of them.
        labels: what they are called.
        review_id: shape (n,).
        label: shape (n,), 0 or 1.
        scores: shape (k, n).
    """

    accounts: Sequence[Account]
    labels: Sequence[str]
    review_id: NDArray[np.str_]
    label: NDArray[np.int8]
    scores: NDArray[np.float64]


def together(accounts: Sequence[Account], labels: Sequence[str]) -> Together | None:
    """Those runs whose scores can be held against those of the first that has any; None when there are no two."""
    able = [(account, label) for account, label in zip(accounts, labels, strict=True) if account.table is not None]
    found: list[tuple[Account, str, NDArray[np.float64]]] = []
    for account, label in able:
        first = able[0][0].table
        if account.table is None or first is None or account.record.digest != able[0][0].record.digest:
            continue
        try:
            found.append((account, label, account.table.in_order_of(first).score))
        except ValueError:  # other reviews: the section on differences says so
            continue
    if len(found) < 2 or (first := found[0][0].table) is None:
        return None
    runs, names, scores = zip(*found, strict=True)
    return Together(runs, names, first.review_id, first.label, np.array(scores))


def disagreements(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """Reviews whose scores lie farthest apart, with the readings of the two runs at the ends."""
    runs = together(accounts, labels)
    if runs is None:
        return []
    apart = np.ptp(runs.scores, axis=0)  # (n,)
    rows = np.argsort(-apart, kind="stable")[:MOST]
    return _reviews(runs, [int(row) for row in rows if apart[row] > 0])


def worst_of_all(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """Reviews that every run gets wrong, the most confident errors on average first."""
    runs = together(accounts, labels)
    if runs is None:
        return []
    wrong = (is_positive(runs.scores) != (runs.label == 1)).all(axis=0)
    off = np.where(wrong, np.abs(runs.scores - runs.label).mean(axis=0), -1)  # (n,)
    rows = [int(row) for row in np.argsort(-off, kind="stable")[:MOST] if wrong[row]]
    told = Text(f"{int(wrong.sum()):,} of {len(wrong):,} test reviews are labelled wrongly by all of them.")
    return [told, *_reviews(runs, rows)]


def _reviews(runs: Together, rows: Sequence[int]) -> list[Block]:
    blocks: list[Block] = []
    if any(account.scorer and account.tested for account in runs.accounts):
        blocks.append(Markup(readings.LEGEND))
    for row in rows:
        blocks += _review(runs, row)
    return blocks


def _review(runs: Together, row: int) -> list[Block]:
    """One review: what each run says, and how the two farthest apart read it."""
    name, label = str(runs.review_id[row]), int(runs.label[row])
    scores = runs.scores[:, row]
    order = np.argsort(scores, kind="stable")
    lines = [(runs.labels[i], f"{scores[i]:.4f}") for i in order]
    blocks: list[Block] = [
        Markup(f"<h3>{html.escape(f'{name}: {word_of(label)}')}</h3>"),
        Table(("run", "score"), lines),
    ]
    told = [i for i in order if runs.accounts[i].scorer is not None]
    ends = told if len(told) < 3 else [told[0], told[-1]]
    read = "".join(_read(runs, int(i), name, label, float(scores[i])) for i in ends)
    return [*blocks, Markup(read or _text(runs, name))]


def _read(runs: Together, i: int, name: str, label: int, score: float) -> str:
    account = runs.accounts[i]
    if account.tested is None:
        return ""
    text = account.tested.text(name)
    miss = Miss(name, label, score, text, account.reading(text))
    return f'<p class="small">as read by {html.escape(runs.labels[i])}:</p>{quote(miss)}'


def _text(runs: Together, name: str) -> str:
    """The bare text, from whichever run has the dataset at hand."""
    tested = next((account.tested for account in runs.accounts if account.tested is not None), None)
    return "" if tested is None else quote(Miss(name, 0, 0.0, tested.text(name), None))
