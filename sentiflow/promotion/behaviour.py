"""A table of behaviour: short texts in groups, such as negation or typos, that two versions are compared on."""

from pathlib import Path

import numpy as np

from sentiflow.data.inputs import open_input
from sentiflow.data.parquet import to_values
from sentiflow.data.table import DEFAULT_OPTIONS, plain, written
from sentiflow.errors import UsageError
from sentiflow.promotion.gate import Group
from sentiflow.scoring import TextScorer, is_name, is_positive
from sentiflow.settings import PREFIX, Settings


def groups(settings: Settings, candidate: TextScorer, champion: TextScorer | None) -> list[Group]:
    """The groups of the table that the settings name, and what the versions answer; none without a table."""
    if settings.gate_behaviour is None:
        return []
    texts, labels, names = _read(settings.gate_behaviour, candidate.label_names)
    right = [is_positive(each.score(texts)) == labels for each in (candidate, champion) if each is not None]
    found = {name: names == name for name in sorted(set(names.tolist()))}
    return [Group(name, right[0][rows], right[1][rows] if champion else None) for name, rows in found.items()]


_HINT = f"Correct the table that {PREFIX}GATE_BEHAVIOUR names: columns text, label and group, in every row."


def _read(file: Path, label_names: tuple[str, str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, labels and groups of a table, n of each; a version's own label names are known, too."""
    known = DEFAULT_OPTIONS.known(label_names)
    texts: list[str] = []
    labels: list[bool] = []
    names: list[str] = []
    try:
        source = open_input(file)
        source.select("text", ["group"], "label")
    except UsageError as err:
        raise UsageError(str(err.args[0]), _HINT) from err
    for chunk in source.chunks():
        if chunk.rejects:
            first = chunk.rejects[0]
            raise UsageError(f"{file}, row {first.row:,}: {first.reason}.", _HINT)
        columns = map(to_values, chunk.columns.columns)
        for number, text, label, name in zip(chunk.rows, chunk.texts, *columns, strict=True):
            if plain(label) not in known or not is_name(written(name)):
                raise UsageError(f"{file}, row {number:,}: label {label!r}, group {name!r}.", _HINT)
            texts.append(text)
            labels.append(known[plain(label)] == 1)
            names.append(written(name))
    if not texts:
        raise UsageError(f"{file} has no rows.", _HINT)
    return texts, np.array(labels), np.array(names)
