"""Samples to and from CSV tables, with id and text alone: who labels does not see what the model said."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path

from sentiflow.data.inputs import open_input
from sentiflow.data.parquet import to_values
from sentiflow.data.rows import NO_TEXT, no_formula
from sentiflow.data.table import plain
from sentiflow.errors import UsageError, first_line
from sentiflow.files import publish_private
from sentiflow.monitoring.sample import Sample

_COLUMNS = ("id", "text", "label")
_HINT = "Give a table with the columns id and label."


def export(sample: Sample, file: Path) -> None:
    """Write the texts of a sample, with a column to fill in."""
    if file.suffix != ".csv":
        raise UsageError(f"{file} is no .csv file.", "Name one: --export texts.csv")
    rows = [(drawn.id, no_formula(drawn.text), "") for drawn in sample.texts if drawn.text]
    publish_private(file, csv_table([_COLUMNS, *rows]).encode())


def read_labels(samples: Sequence[Sample], file: Path) -> tuple[Sample, dict[str, str]]:
    """What a file says of the texts of one of the samples, by their id; rows without a label are left out.

    Raises:
        UsageError: it cannot be read, or has no label, two labels of a text, or what the sample lacks.
    """
    try:
        rows = list(_rows(file))
    except (OSError, ValueError) as err:
        raise UsageError(f"{file} cannot be read: {first_line(err) or type(err).__name__}.", _HINT) from err
    if not rows:
        raise UsageError(f"{file} has no label.", _HINT)
    holding = (each for each in samples if rows[0][1] in {drawn.id for drawn in each.texts})
    sample = next(holding, samples[-1])
    known, allowed = {drawn.id for drawn in sample.texts}, {plain(name): name for name in sample.answers}
    given: dict[str, str] = {}
    for place, name, label in rows:
        if name not in known:
            raise UsageError(
                f"{file}, {place}: {sample.title} has no text {name!r}.",
                "Take it out: it was deleted, or is another's.",
            )
        if plain(label) not in allowed:
            raise UsageError(f"{file}, {place}: unknown label {label!r}.", f"Use {', '.join(sample.answers)}.")
        if given.setdefault(name, allowed[plain(label)]) != allowed[plain(label)]:
            raise UsageError(f"{file}, {place}: {name} has another label before.", "Keep one of them.")
    return sample, given


def csv_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as CSV."""
    lines = StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue()


def _rows(file: Path) -> Iterator[tuple[str, str, str]]:
    """Place, id and label of each row of a table that has a label."""
    table = open_input(file)
    try:
        table.select("label", ["id"])
    except UsageError as err:
        raise UsageError(str(err.args[0]), _HINT) from err
    for chunk in table.chunks():
        for reject in chunk.rejects:
            if reject.reason != NO_TEXT:
                raise UsageError(f"{file}, line {reject.line}: {reject.reason}.", _HINT)
        names = to_values(chunk.columns.column(0))
        yield from ((f"line {line}", *row) for line, *row in zip(chunk.lines, names, chunk.texts, strict=True))
