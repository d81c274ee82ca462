"""The space of a sweep, its study and its results."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from sentiflow.errors import UsageError, plain_reason
from sentiflow.folder import expanded
from sentiflow.training.recipes import TrainConfig, nearest_field, read_toml

DEFAULT = Path(__file__).with_name("search_space.toml")
_DEFAULT_FITTED = Path(__file__).with_name("fitted_space.toml")

Value = bool | int | float | str

_NOT_SEARCHED = ("recipe", "fit_to_table", "validation_fraction")
_SHAPES = "A field has low and high, and optionally log = true or a step; or it has choices = [...]."


class Range(BaseModel, frozen=True, extra="forbid", strict=True, allow_inf_nan=False):
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = Field(False, description="Sample evenly by order of magnitude.")
    step: float | None = Field(None, description="Between two values; without it any number is one.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log = true needs a low above 0, and no step")
        if self.step is not None and not (self.step > 0 and _is_multiple(self.high - self.low, self.step)):
            raise ValueError(f"step = {self.step:g} does not lead from {self.low:g} to {self.high:g}")
        return self

    @property
    def examples(self) -> tuple[float, ...]:
        """Its ends, and the value after the first one."""
        return (self.low, self.high) if self.step is None else (self.low, self.high, self.low + self.step)

    def holds(self, value: Any) -> bool:
        return self.low <= value <= self.high and (self.step is None or _is_multiple(value - self.low, self.step))


class Choices(BaseModel, frozen=True, extra="forbid", strict=True, allow_inf_nan=False):
    """Two or more different values without an order."""

    choices: tuple[Value, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({(isinstance(value, bool), value) for value in self.choices}) < max(2, len(self.choices)):
            raise ValueError(f"choices = {list(self.choices)} are not two or more different values")
        return self

    @property
    def examples(self) -> tuple[Value, ...]:
        return self.choices

    def holds(self, value: Any) -> bool:
        return value in self.choices


@dataclass(frozen=True)
class SearchSpace:
    """The fields that a sweep changes, in the order of the file."""

    fields: Mapping[str, Range | Choices]

    @property
    def digest(self) -> str:
        """The same for the same fields and values, whatever the file looks like."""
        content = {name: field.model_dump() for name, field in sorted(self.fields.items())}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def outside(self, config: TrainConfig) -> dict[str, Any]:
        """The values of a recipe that do not lie in the space, by field."""
        values = {name: getattr(config, name) for name in self.fields}
        return {name: value for name, value in values.items() if not self.fields[name].holds(value)}


def load_space(path: Path | None, config: TrainConfig) -> SearchSpace:
    """Read a search space from a TOML file, else one of our two, and check that its values make valid recipes."""
    default = _DEFAULT_FITTED if config.fit_to_table else DEFAULT
    file = expanded(path) if path else default
    tables = read_toml(file, "search space")
    if not tables:
        raise UsageError(f"The search space {file} names no field.", _SHAPES)
    fields = {name: _field(f"Search space {file}: {name}", name, table) for name, table in tables.items()}
    for name, field in fields.items():
        for value in field.examples:
            _check_value(f"Search space {file}: {name}", name, value, config)
    return SearchSpace(fields)


def is_whole(name: str) -> bool:
    """Whether a field of the recipe is a whole number."""
    return TrainConfig.model_fields[name].annotation is int


def _field(where: str, name: str, table: Any) -> Range | Choices:
    known = [field for field in TrainConfig.model_fields if field not in _NOT_SEARCHED]
    if name in _NOT_SEARCHED:
        raise UsageError(f"{where} cannot be searched.", "Leave it out.")
    if name not in known:
        near = nearest_field(name)
        problem = "is not a field of a recipe" + (f"; did you mean {near!r}?" if near else ".")
        raise UsageError(f"{where} {problem}", f"Fields: {', '.join(known)}.")
    if not isinstance(table, dict):
        raise UsageError(f"{where} = {table!r} is no table.", f"Write [{name}] and its range below it. {_SHAPES}")
    if "choices" not in table and TrainConfig.model_fields[name].annotation not in (int, float):
        raise UsageError(f"{where} is not a number, so it has no low and high.", "Give its choices = [...].")
    try:
        return (Choices if "choices" in table else Range).model_validate(table)
    except ValidationError as err:
        first = err.errors()[0]
        key = "".join(f"{part}: " for part in first["loc"])
        raise UsageError(f"{where}: {key}{plain_reason(first['msg'])}.", _SHAPES) from err


def _check_value(where: str, name: str, value: Value, config: TrainConfig) -> None:
    """Check that a value makes a valid recipe, or may with other values of other fields."""
    try:
        TrainConfig(**{**config.model_dump(), name: value})
    except ValidationError as err:
        first = err.errors()[0]
        if first["loc"]:
            shown = f"{value:g}" if isinstance(value, float) else repr(value)
            problem = f"{where} = {shown} is not allowed: {plain_reason(first['msg'])}."
            raise UsageError(problem, f"{name}: {TrainConfig.model_fields[name].description}") from err


def _is_multiple(distance: float, step: float) -> bool:
    steps = distance / step
    return math.isfinite(steps) and abs(steps - round(steps)) < 1e-9
