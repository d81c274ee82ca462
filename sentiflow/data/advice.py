"""What to type for labels of a table that have no meaning yet."""

import re
from collections.abc import Mapping, Sequence
from itertools import permutations
from shlex import quote
from typing import Literal

from sentiflow.scoring import is_name
from sentiflow.scoring.scorer import MAX_NAME

Label = Literal[0, 1, "skip"]

KINDS = 20  # different labels of a table that are told apart
_FORM, _FEW = 200, 6  # characters of --labels that are shown whole; labels that are shown of a longer one
_ANSWERS: tuple[Label, Label] = (1, 0)
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?: ?/ ?\d+| out of .*| stars?)?")
_PLAIN: dict[Label, str] = {1: "positi.*|good", 0: "n[eé]gati.*|bad", "skip": "|neutr.*|mixed"}


def advice(found: Sequence[str], given: Mapping[str, Label], known: Mapping[str, Label], column: str) -> str:
    """What to type for labels that are not ``known``, those ``given`` aside; numbers are taken as a scale."""
    if len(found) > KINDS:
        return f"{column} has more than {KINDS} different values: --label-column names the column of labels."
    usable = [label for label in found if not label or (is_name(label) and "," not in label)]
    unknown = [label for label in usable if label not in known]
    rename = f"Give labels that hold a comma, or over {MAX_NAME} characters, other names in the table."
    parts = [] if {*found} <= {*usable, *known} else [rename]
    return " ".join([*parts, _ways(usable, unknown, given, known)] if unknown else parts)


def _ways(
    found: Sequence[str], unknown: Sequence[str], given: Mapping[str, Label], known: Mapping[str, Label]
) -> str:
    scale = _scale([label for label in found if given.get(label) != "skip"])
    against = any({given.get(label, meaning), meaning} == {0, 1} for label, meaning in scale.items())
    if any(unknown) and scale and not against:
        higher = f"If higher is better: {_option(scale, given, unknown)}"
        skip = _option(dict.fromkeys(unknown, "skip"), given, unknown)
        return f"{higher}; to leave the others out: {skip}" if {"0", "1"} <= scale.keys() else higher
    meanings: dict[str, Label] = {label: known[label] for label in found if label in known}
    meanings |= {label: meaning for label in unknown if (meaning := _guess(label)) is not None}
    unclear = [label for label in unknown if label not in meanings]
    missing: list[Label] = [meaning for meaning in _ANSWERS if meaning not in meanings.values()]
    meanings |= dict.fromkeys(unclear, "skip")
    ways = [
        _option(meanings | dict(zip(unclear, order, strict=False)), given, unknown)
        for order in permutations(missing, min(len(unclear), len(missing)))
    ]
    if not unclear or not missing:
        return f"Say what they mean, or leave rows out: {ways[0]}"
    if len(unclear) > len(missing):
        return f"Which of them mean 1, which 0, and which are left out? Such as {ways[0]}"
    return f"{'Which of them means 1? ' if len(unclear) > 1 else ''}{' or '.join(ways)}"


def _scale(labels: Sequence[str]) -> dict[str, Label]:
    """What labels mean that are all numbers, the highest first; stars have their middle at 3."""
    values = {label: float(number[1]) for label in labels if (number := _NUMBER.fullmatch(label))}
    if len(values) < max(len([*filter(None, labels)]), 2):
        return {}
    low, high = min(values.values()), max(values.values())
    middle = 3.0 if high == 5 and 1 <= low < 3 else (low + high) / 2
    scale: dict[str, Label] = {}
    for label in sorted(values, key=lambda label: -values[label]):
        scale[label] = "skip" if values[label] == middle else 1 if values[label] > middle else 0
    return scale | dict.fromkeys(set(labels) - set(values), "skip")  # of rows without a label


def _guess(label: str) -> Label | None:
    """The meaning of a word that is plain in several languages."""
    return next((meaning for meaning, word in _PLAIN.items() if re.fullmatch(word, label)), None)


def _option(meanings: Mapping[str, Label], given: Mapping[str, Label], unknown: Sequence[str]) -> str:
    """The option that gives labels a meaning; beside what is left out, known ones need not stand."""
    new = {label: meanings[label] for label in unknown}
    named = {**(meanings if set(new.values()) - {"skip"} else new), **given}
    parts = [f"{label}={value}" for value in (1, "skip", 0) for label in named if named[label] == value]
    shown = parts if len(",".join(parts)) <= _FORM else [*parts[:_FEW], "..."]
    return f"--labels {quote(','.join(shown))}"
