"""What a sweep may try: a range or a list of values a field of the recipe, read from a TOML file."""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sentiflow.errors import UsageError
from sentiflow.recipes import TrainConfig

DEFAULT = Path(__file__).with_name("search_space.toml")

Value = bool | int | float | str

_KEPT = {
    "recipe": "it is a name",
    "validation_fraction": "losses on other validation reviews cannot be compared",
}
_SHAPES = "A field has low and high, and if wanted log = true or a step; or it has choices = [...]."


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low: the least.
        high: the most.
        whole: they are whole numbers.
        log: tried evenly by their order of magnitude.
        step: between two of them; None for any number, or any whole one.
    """

    low: float
    high: float
    whole: bool
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Choices:
    """A few values without an order."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class SearchSpace:
    """The fields that a sweep changes, in the order of the file."""

    fields: Mapping[str, Range | Choices]

    @property
    def digest(self) -> str:
        """The same for the same fields and values, whatever the file looks like."""
        content = {name: asdict(field) for name, field in sorted(self.fields.items())}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def holds(self, config: TrainConfig) -> bool:
        """Whether a recipe lies in the space."""
        values = config.model_dump()
        return all(_holds(field, values[name]) for name, field in self.fields.items())


def load_space(path: Path | None, config: TrainConfig) -> SearchSpace:
    """Read a search space, and check that every value of it makes a recipe.

    Args:
        path: a TOML file; None for the default one.
        config: the recipe whose fields are changed.

    Raises:
        UsageError: no such file, an unknown field, a malformed range, or a value that the field does not allow.
    """
    file = path or DEFAULT
    tables = _read(file)
    if not tables:
        raise UsageError(f"The search space {file} names no field.", _SHAPES)
    space = SearchSpace({name: _field(f"Search space {file}", name, table) for name, table in tables.items()})
    for name, field in space.fields.items():
        _check_values(f"Search space {file}", name, field, config)
    return space


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UsageError(f"Cannot read the search space {path}: {err.strerror}.") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise UsageError(f"The search space {path} is not valid TOML: {err}.") from err


def _field(where: str, name: str, table: Any) -> Range | Choices:
    if name not in TrainConfig.model_fields:
        near = difflib.get_close_matches(name, TrainConfig.model_fields, n=1)
        raise UsageError(
            f"{where}: unknown field {name!r}" + (f"; did you mean {near[0]!r}?" if near else "."),
            f"Fields: {', '.join(field for field in TrainConfig.model_fields if field not in _KEPT)}.",
        )
    if name in _KEPT:
        raise UsageError(f"{where}: {name} cannot be searched: {_KEPT[name]}.", "Leave it out.")
    if not isinstance(table, dict):
        raise UsageError(
            f"{where}: {name} = {table!r} is no range.", f"For example: [{name}] and below it its range. {_SHAPES}"
        )
    if set(table) == {"choices"}:
        return _choices(where, name, table["choices"])
    if not {"low", "high"} <= set(table) <= {"low", "high", "log", "step"}:
        raise UsageError(f"{where}: [{name}] has {', '.join(table) or 'nothing'}.", _SHAPES)
    return _range(where, name, **table)


def _choices(where: str, name: str, values: Any) -> Choices:
    scalars = isinstance(values, list) and all(isinstance(value, bool | int | float | str) for value in values)
    if not scalars or len({json.dumps(value) for value in values}) < max(2, len(values)):
        raise UsageError(f"{where}: [{name}] choices = {values!r} are not two or more different values.", _SHAPES)
    return Choices(tuple(values))


def _range(where: str, name: str, low: Any, high: Any, log: Any = False, step: Any = None) -> Range:
    kind = TrainConfig.model_fields[name].annotation
    if kind not in (int, float):
        raise UsageError(f"{where}: {name} is no number, and has no low and high.", "Give its choices = [...].")
    numbers = [low, high, *([] if step is None else [step])]
    wrong = [value for value in numbers if not _is_number(value, whole=kind is int)]
    if wrong:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{where}: [{name}] {wrong[0]!r} is not {what}.", _SHAPES)
    if not low < high:
        raise UsageError(f"{where}: [{name}] low = {low} is not below high = {high}.", "Swap or correct them.")
    if not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise UsageError(
            f"{where}: [{name}] log = {log!r} does not fit.",
            "It is true or false; true needs a low above 0, and no step.",
        )
    if step is not None and (step <= 0 or abs((high - low) / step - round((high - low) / step)) > 1e-9):
        raise UsageError(
            f"{where}: [{name}] step = {step} does not lead from {low} to {high}.",
            "Take one that divides the range.",
        )
    return Range(low, high, kind is int, log, step)


def _is_number(value: Any, *, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


def _check_values(where: str, name: str, field: Range | Choices, config: TrainConfig) -> None:
    """Make a recipe of both ends, or of each choice."""
    for value in (field.low, field.high) if isinstance(field, Range) else field.values:
        try:
            made = TrainConfig(**{**config.model_dump(), name: value})
        except ValidationError as err:
            first = err.errors()[0]
            message = str(first.get("ctx", {}).get("error") or first["msg"])
            raise UsageError(
                f"{where}: {name} = {value!r} is not allowed: {message[0].lower()}{message[1:]}.",
                f"{name}: {TrainConfig.model_fields[name].description}",
            ) from err
        if getattr(made, name) != value or isinstance(value, bool) != isinstance(getattr(made, name), bool):
            raise UsageError(f"{where}: {name} = {value!r} is read as {getattr(made, name)!r}.", "Write it so.")


def _holds(field: Range | Choices, value: Value) -> bool:
    if isinstance(field, Choices):
        return value in field.values
    if not field.low <= value <= field.high:  # type: ignore[operator]  # a range is of numbers
        return False
    steps = 0.0 if field.step is None else (float(value) - field.low) / field.step
    return abs(steps - round(steps)) < 1e-9
