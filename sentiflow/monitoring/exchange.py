"""Samples to and from files: a CSV table, or tasks of Label Studio.

Both hold id and text alone, so that who labels does not see what the model said.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from sentiflow.data.rows import no_formula
from sentiflow.errors import UsageError, first_line
from sentiflow.files import publish_private, read_csv
from sentiflow.monitoring.sample import Sample

_COLUMNS = ("id", "text", "label")
_SUFFIXES = (".csv", ".json")


def export(sample: Sample, file: Path) -> None:
    """Write the texts of a sample: ``.csv`` with a column to fill in, or ``.json`` for Label Studio."""
    _check(file)
    if file.suffix == ".json":
        tasks = [{"data": {"id": drawn.id, "text": drawn.text}} for drawn in sample.texts]
        content = json.dumps(tasks, ensure_ascii=False, indent=1)
    else:
        content = csv_table([_COLUMNS, *((drawn.id, no_formula(drawn.text), "") for drawn in sample.texts)])
    publish_private(file, content.encode())


def read_labels(samples: Sequence[Sample], file: Path) -> tuple[Sample, dict[str, str]]:
    """What a file says of the texts of one of the samples, by their id; rows without a label are left out."""
    _check(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(_tasks(json.load(lines)) if file.suffix == ".json" else _rows(lines))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as err:
        raise UsageError(
            f"{file} cannot be read: {first_line(err) or type(err).__name__}.",
            "Give a table with the columns id and label, split by commas, or Label Studio's JSON (not JSON-MIN).",
        ) from err
    holding = (each for each in samples if rows and rows[0][1] in {drawn.id for drawn in each.texts})
    sample = next(holding, samples[-1])
    known, allowed = {drawn.id for drawn in sample.texts}, sample.answers
    for place, name, label in rows:
        if name not in known:
            raise UsageError(
                f"{file}, row {place}: {sample.title} has no text {name!r}.",
                "Take its row out: it was deleted, or is another's.",
            )
        if label not in allowed:
            raise UsageError(f"{file}, row {place}: unknown label {label!r}.", f"Use {', '.join(allowed)}.")
    return sample, {name: label for _, name, label in rows}


def csv_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as CSV."""
    lines = StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue()


def _rows(lines: TextIO) -> Iterator[tuple[int, str, str]]:
    """Number, id and label of each row that has one; the header is the first row."""
    table = read_csv(lines)
    columns = next(table, [])
    name, label = columns.index("id"), columns.index("label")
    for number, row in enumerate(table, start=2):
        if len(row) > label and (value := row[label].strip()):
            yield number, row[name], value


def _tasks(tasks: list[dict[str, Any]]) -> Iterator[tuple[int, str, str]]:
    """Number, id and last annotation of each task that has one, and was not skipped."""
    for number, task in enumerate(tasks, start=1):
        kept = [each for each in task["annotations"] if not each.get("was_cancelled")]
        values = [result["value"] for each in kept for result in each["result"]]
        if chosen := [value["choices"][0] for value in values if value.get("choices")]:
            yield number, str(task["data"]["id"]), chosen[-1]


def _check(file: Path) -> None:
    if file.suffix not in _SUFFIXES:
        raise UsageError(f"{file} is no {' or '.join(_SUFFIXES)} file.", "Name one: --export texts.csv")
