"""A run as a record, wherever it was read, and its fields as text."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sentiflow.errors import UsageError

# The tag that says what a run is, and its values.
KIND = "kind"
TRAINING = "training"  # one recipe, one seed
REPEATS = "repeats"  # the parent of a set of seeds
SEED = "seed"  # one of them
SWEEP = "sweep"  # the parent of a search
TRIAL = "trial"  # one try of it
BASELINES = "baselines"  # the parent of baselines
BASELINE = "baseline"  # one of them
MONITOR = "monitor"  # a look for drift; no training


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        run_id: of MLflow, 32 hexadecimal digits.
        name: of the run.
        status: RUNNING, FINISHED, FAILED or KILLED, as MLflow says.
        started: with a time zone.
        params: as logged, all text.
        metrics: the latest value of each.
        tags: MLflow's own (``mlflow.``) among them.
        artifact_uri: where its files are.
    """

    run_id: str
    name: str
    status: str
    started: datetime
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifact_uri: str

    @property
    def kind(self) -> str:
        """What the run is."""
        return self.tags.get(KIND, TRAINING)

    @property
    def parent(self) -> str | None:
        """Id of the run that this is a part of."""
        return self.tags.get("mlflow.parentRunId")

    @property
    def recipe(self) -> str:
        """Name of the recipe, or of what stands in its place; empty if the run does not say."""
        return self.tags.get("recipe", "")

    @property
    def dataset(self) -> str:
        """Name of the dataset; empty if the run does not say."""
        return self.tags.get("dataset", "")

    @property
    def trial(self) -> str:
        """What its sweep calls a trial, such as ``trial 7``; empty for other runs."""
        number = self.tags.get("trial.number") if self.kind == TRIAL else None
        return "" if number is None else f"trial {number}"

    @property
    def digest(self) -> str | None:
        """Content digest of the dataset; None before it was prepared."""
        return self.tags.get("dataset.digest")


def called(runs: Sequence[tuple[str, str]], name: str, beginning: str) -> list[tuple[str, str]]:
    """Those with a name, or an id that begins so.

    Args:
        runs: id and name of each.
        name: of a run.
        beginning: of an id, in small letters; empty if only names are meant.
    """
    return [run for run in runs if run[1] == name or (beginning and run[0].startswith(beginning))]


Value = str | float | None


def _seed(run: RunRecord) -> str | None:
    """The seed, or the seeds of a set of repeats."""
    seed, repeats = run.params.get("seed"), run.params.get("repeats", "")
    if seed is None or not (seed.isdecimal() and repeats.isdecimal()):
        return seed
    return f"{seed} to {int(seed) + int(repeats) - 1}"


FIELDS: Mapping[str, Callable[[RunRecord], Value]] = {
    "id": lambda run: run.run_id,
    "name": lambda run: run.name,
    "kind": lambda run: run.kind,
    "status": lambda run: run.status,
    "started": lambda run: run.started.timestamp(),
    "recipe": lambda run: run.recipe or None,
    "dataset": lambda run: run.dataset or None,
    "seed": _seed,
    "accuracy": lambda run: _value(run.metrics.get("test/accuracy", run.metrics.get("test/accuracy_mean"))),
    "seconds": lambda run: _value(run.metrics.get("time/total")),
}
"""What has a name of its own."""

_PREFIXES = ("metrics.", "params.", "tags.")


class Fields:
    """Looks values up by name, over given runs.

    A name is one of ``FIELDS``, else that of a metric, a parameter or a tag, whichever any of the runs has;
    ``metrics.``, ``params.`` or ``tags.`` before it says which is meant.
    """

    def __init__(self, runs: Iterable[RunRecord]) -> None:
        self._runs = list(runs)
        self._known = {
            prefix: {name for run in self._runs for name in getattr(run, prefix[:-1])} for prefix in _PREFIXES
        }

    def getter(self, name: str) -> Callable[[RunRecord], Value]:
        """What gives a run's value under a name; None where the run has none.

        Raises:
            UsageError: no run has anything of this name; the hint names the nearest.
        """
        if name in FIELDS:
            return FIELDS[name]
        for prefix in _PREFIXES:
            plain = name.removeprefix(prefix)
            if plain in self._known[prefix] and (plain != name or not name.startswith(_PREFIXES)):
                return lambda run: _value(getattr(run, prefix[:-1]).get(plain))
        raise UsageError(f"No run has a metric, parameter or tag {name!r}.", self._near(name))

    def texts(self, name: str) -> set[str]:
        """The values that the runs have under a name, as texts."""
        get = self.getter(name)
        return {str(value) for run in self._runs if (value := get(run)) is not None}

    def _near(self, name: str) -> str:
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
        shown = [prefix + known for known in self._known[prefix]] if prefix else self._all()
        close = difflib.get_close_matches(name, shown, n=3, cutoff=0.5)
        close += sorted(known for known in shown if known.endswith(f"/{name}") and known not in close)[:3]
        examples = "for example: accuracy, test/loss, params.units, tags.started_by"
        return f"Did you mean {' or '.join(close)}?" if close else f"Name one, {examples}"

    def _all(self) -> list[str]:
        return sorted(set(FIELDS).union(*self._known.values()))


def number(value: Value) -> float | None:
    """The value as a number, however it is written; None if it is none."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def _value(value: Value) -> Value:
    return None if isinstance(value, float) and math.isnan(value) else value
