"""All test reviews that a run gets wrong, as a page to filter and sort."""

import base64
import hashlib
from importlib import resources

from sentiflow.evaluation.scores import ScoreTable
from sentiflow.reports.blocks import template
from sentiflow.reports.summary import TestData, without_breaks, wrong_rows
from sentiflow.run.record import RunRecord

_LONGEST = 20_000  # characters shown of a text
_CHARACTERS = 8_000_000  # of all texts; IMDB's 2,949 errors of ``tuned`` have 3.7 million


def errors_page(record: RunRecord, table: ScoreTable, test_data: TestData) -> str:
    """An HTML page that loads nothing from outside; of very many errors the most confident ones."""
    rows, left = wrong_rows(table.label, table.score), _CHARACTERS
    errors: list[tuple[str, int, float, int, str]] = []
    for row in rows:
        name = str(table.review_id[row])
        text = without_breaks(test_data.text(name))
        words, left = len(text.split()), left - min(len(text), _LONGEST)
        if left < 0:
            break
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
        label, score = int(table.label[row]), round(float(table.score[row]), 4)
        errors.append((test_data.place(name), label, score, words, text))
    script = resources.files("sentiflow.reports").joinpath("templates/errors.js").read_text(encoding="utf-8")
    return template("errors.html").render(
        run=record.name,
        names=record.label_names,
        total=len(rows),
        tested=len(table.label),
        errors=errors,
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
