"""Reviews that models get wrong, or that they disagree about, with their readings."""

import html

from sentiment import readings
from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Markup, Table, Text
from sentiment.reports.misses import Miss, word_of, worst_rows

_CHARACTERS = 1_200  # of a text that nothing reads word by word


def worst(account: Account) -> list[Block]:
    """The worst errors of a run: with readings, else as texts, else as a list of their names."""
    misses = account.misses
    if misses is None:
        return _names(account)
    if not misses:
        return [Text("None: no test review is labelled wrongly.")]
    legend = readings.LEGEND if account.scorer else ""
    told = (f"<h3>{html.escape(miss.heading)}</h3>{quote(miss)}" for miss in misses)
    return [Markup(legend + "".join(told))]


def quote(miss: Miss) -> str:
    """A review with its reading where there is one."""
    if miss.reading is None:
        return f"<blockquote>{html.escape(_cut(miss.text))}</blockquote>"
    return f"<blockquote>{readings.fragment(miss.reading)}</blockquote>"


def _names(account: Account) -> list[Block]:
    table = account.table
    if table is None:
        return []
    rows = [
        (str(table.review_id[row]), word_of(table.label[row]), f"{table.score[row]:.4f}")
        for row in worst_rows(table.label, table.score)
    ]
    return [Table(("review", "label", "score"), rows, words=2)]


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS].rstrip()} ..."
