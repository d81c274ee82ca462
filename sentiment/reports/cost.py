"""What runs cost: seconds by stage, speed, size."""

from collections.abc import Callable, Sequence

from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Table, cells

STAGES = ("startup", "open", "fetch", "prepare", "load", "train", "evaluate", "report", "register")
"""Into which the time of a run is divided: metrics ``time/<stage>``; with ``other`` they sum up to ``total``."""


def cost(account: Account) -> list[Block]:
    """What one run cost; nothing when it does not say."""
    rows = _rows([account])
    return [Table(("what", "cost"), rows)] if rows else []


def costs(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """What several runs cost, side by side."""
    rows = _rows(accounts)
    return [Table(("what", *labels), rows)] if rows else []


def _rows(accounts: Sequence[Account]) -> list[tuple[str, ...]]:
    times = [(f"{name}, seconds", _seconds(name)) for name in (*STAGES, "other", "total")]
    other: list[tuple[str, Callable[[Account], str]]] = [
        ("training, reviews a second", lambda account: cells(_thousands, account.trained_per_second)),
        ("scoring, reviews a second", lambda account: cells(_thousands, account.scored_per_second)),
        ("trained parameters", lambda account: cells(_thousands, account.parameters)),
    ]
    rows = [(name, *(show(account) for account in accounts)) for name, show in [*times, *other]]
    return [row for row in rows if set(row[1:]) != {"-"}]


def _seconds(stage: str) -> Callable[[Account], str]:
    return lambda account: cells(lambda value: f"{value:.1f}", account.metrics.get(f"time/{stage}"))


def _thousands(value: float) -> str:
    return f"{value:,.0f}"
