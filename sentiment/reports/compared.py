"""Runs that are held against each other: their order, their names, and how many a picture has room for."""

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Table

MOST = 12
"""Runs that pictures and side-by-side tables show at most: the first, and those of the lowest validation loss."""

_TURNED = 6  # runs from which on a table has a line a run instead of a column


@dataclass(frozen=True)
class Compared:
    """Runs in the order of the report, and what they are called in it."""

    accounts: Sequence[Account]
    labels: Sequence[str]

    @property
    def shown(self) -> "Compared":
        """Those that pictures have room for."""
        if len(self.accounts) <= MOST:
            return self
        order = sorted(range(1, len(self.accounts)), key=lambda i: loss_of(self.accounts[i]))
        return self.take(sorted([0, *order[: MOST - 1]]))

    def take(self, rows: Sequence[int]) -> "Compared":
        """Some of the runs."""
        return Compared([self.accounts[i] for i in rows], [self.labels[i] for i in rows])

    @property
    def numbers(self) -> list[int]:
        """Of each run, 0 for the first; they choose colours."""
        return [int(label.split(" ", 1)[0]) - 1 for label in self.labels]


def named(label: str) -> str:
    """What a run is called in a sentence."""
    number, _, title = label.partition(" ")
    return f"run {number} ({title})"


def loss_of(account: Account) -> float:
    """For choosing: a run without a validation loss comes last."""
    loss = account.validation_loss
    return float("inf") if loss is None or loss != loss else loss


def points(fraction: float) -> str:
    """A difference of accuracies."""
    return f"{100 * fraction:+.2f} points"


def chance(p: float) -> str:
    """A p-value."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def turned(blocks: Sequence[Block]) -> list[Block]:
    """Tables of many runs with a line a run."""
    return [
        block.turned() if isinstance(block, Table) and len(block.heading) > _TURNED + 1 else block
        for block in blocks
    ]
