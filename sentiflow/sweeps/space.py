"""The space of a sweep, its study and its results."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import create_trial
from pydantic import ValidationError

from sentiflow.environment import expanded
from sentiflow.errors import UsageError, first_line, plain_reason
from sentiflow.training.recipes import TrainConfig, nearest_field, read_toml

DEFAULT = Path(__file__).with_name("search_space.toml")
_DEFAULT_FITTED = Path(__file__).with_name("fitted_space.toml")

_NOT_SEARCHED = ("recipe", "fit_to_table", "validation_fraction")
_SHAPES = "A field has low and high, and optionally log = true or a step; or it has choices = [...]."


@dataclass(frozen=True)
class SearchSpace:
    """The fields that a sweep changes, in the order of the file, as Optuna draws them."""

    fields: Mapping[str, BaseDistribution]

    @property
    def digest(self) -> str:
        """The same for the same fields and values, whatever the file looks like."""
        content = {name: distribution_to_json(field) for name, field in sorted(self.fields.items())}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def outside(self, config: TrainConfig) -> dict[str, Any]:
        """The values of a recipe that do not lie in the space, by field."""
        values = {name: getattr(config, name) for name in self.fields}
        return {name: value for name, value in values.items() if not _holds(self.fields[name], value)}


def _holds(field: BaseDistribution, value: Any) -> bool:
    try:
        create_trial(params={"": value}, distributions={"": field}, value=0.0)
    except ValueError:
        return False
    return True


def load_space(path: Path | None, config: TrainConfig) -> SearchSpace:
    """Read a search space from a TOML file, else one of our two, and check that its values make valid recipes."""
    default = _DEFAULT_FITTED if config.fit_to_table else DEFAULT
    file = expanded(path) if path else default
    tables = read_toml(file, "search space")
    if not tables:
        raise UsageError(f"The search space {file} names no field.", _SHAPES)
    fields = {}
    for name, table in tables.items():
        where = f"Search space {file}: {name}"
        fields[name] = _field(where, name, table)
        steps = [table["low"] + table["step"]] if "step" in table else []
        for value in table.get("choices") or [table["low"], table["high"], *steps]:
            _check_value(where, name, value, config)
    return SearchSpace(fields)


_NUMBERS: dict[Any, type[BaseDistribution]] = {int: IntDistribution, float: FloatDistribution}


def _field(where: str, name: str, table: Any) -> BaseDistribution:
    known = [field for field in TrainConfig.model_fields if field not in _NOT_SEARCHED]
    if name in _NOT_SEARCHED:
        raise UsageError(f"{where} cannot be searched.", "Leave it out.")
    if name not in known:
        near = nearest_field(name)
        problem = "is not a field of a recipe" + (f"; did you mean {near!r}?" if near else ".")
        raise UsageError(f"{where} {problem}", f"Fields: {', '.join(known)}.")
    if not isinstance(table, dict):
        raise UsageError(f"{where} = {table!r} is no table.", f"Write [{name}] and its range below it. {_SHAPES}")
    number = _NUMBERS.get(TrainConfig.model_fields[name].annotation)
    kind = CategoricalDistribution if "choices" in table else number
    if kind is None:
        raise UsageError(f"{where} is not a number, so it has no low and high.", "Give its choices = [...].")
    try:
        with warnings.catch_warnings(action="ignore"):  # of choices that are no values; they are refused next
            return kind(**table)
    except (TypeError, ValueError) as err:
        raise UsageError(f"{where}: {first_line(err)}", _SHAPES) from err


def _check_value(where: str, name: str, value: Any, config: TrainConfig) -> None:
    """Check that a value makes a valid recipe, or may with other values of other fields."""
    try:
        TrainConfig(**{**config.model_dump(), name: value})
    except ValidationError as err:
        first = err.errors()[0]
        if first["loc"]:
            shown = f"{value:g}" if isinstance(value, float) else repr(value)
            problem = f"{where} = {shown} is not allowed: {plain_reason(first['msg'])}."
            raise UsageError(problem, f"{name}: {TrainConfig.model_fields[name].description}") from err
