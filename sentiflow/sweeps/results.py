"""The trials of a sweep: how they ended, what they say about the searched fields, and tables of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sentiflow.network.history import Epoch
from sentiflow.recipes import TUTORIAL, TrainConfig
from sentiflow.sweeps.space import Value
from sentiflow.sweeps.study import ENDED_AS, RUN_ID, finished

COMPLETE, PRUNED, DIVERGED = "complete", "pruned", "diverged"

# Importance measured with fewer complete trials is noise: docs/sweeps.md has the measurement.
_MIN_FOR_IMPORTANCE = 10


@dataclass(frozen=True)
class TrialRow:
    """One finished trial.

    Attributes:
        number: 0 is the first.
        state: complete, pruned, or diverged, which counts as pruned.
        loss: validation loss of the epoch kept, if complete; else the lowest seen, None if none was.
        epochs: that were trained.
        seconds: wall time.
        values: of the searched fields.
        run_id: of its MLflow run.
    """

    number: int
    state: str
    loss: float | None
    epochs: int
    seconds: float
    values: Mapping[str, Value]
    run_id: str


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        number: of the trial; 0 is the first.
        state: complete, pruned, or diverged, which counts as pruned.
        epochs: all that were trained.
        kept: the epoch whose weights are kept; None unless complete.
    """

    number: int
    state: str
    epochs: tuple[Epoch, ...]
    kept: Epoch | None

    @property
    def loss(self) -> float | None:
        """Validation loss of the epoch kept, else of the last one, if there was one."""
        last = self.kept or (self.epochs[-1] if self.epochs else None)
        return last.val_loss if last else None

    def __str__(self) -> str:
        loss = "" if self.loss is None else f", val loss {self.loss:.4f}"
        plural = "" if len(self.epochs) == 1 else "s"
        return f"trial {self.number} {self.state} after {len(self.epochs)} epoch{plural}{loss}"


def trial_rows(study: Study) -> list[TrialRow]:
    """The finished trials, in their order."""
    return [_row(trial) for trial in finished(study)]


def _row(trial: FrozenTrial) -> TrialRow:
    losses = trial.intermediate_values.values()
    complete = trial.state == TrialState.COMPLETE
    return TrialRow(
        number=trial.number,
        state=trial.user_attrs[ENDED_AS],
        loss=trial.value if complete else min(losses, default=None),
        epochs=len(losses),
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
        values=trial.params,
        run_id=trial.user_attrs[RUN_ID],
    )


def by_loss(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The complete trials, the lowest validation loss first; the first of equals."""
    complete = [row for row in rows if row.state == COMPLETE]
    return sorted(complete, key=lambda row: (row.loss if row.loss is not None else float("inf"), row.number))


def table(rows: Sequence[TrialRow]) -> pd.DataFrame:
    """One row per trial, one column per searched field."""
    return pd.DataFrame(
        [
            {
                "trial": row.number,
                "state": row.state,
                "val_loss": row.loss,
                "epochs": row.epochs,
                "seconds": row.seconds,
                **row.values,
                "run_id": row.run_id,
            }
            for row in rows
        ]
    )


def recipe_file(config: TrainConfig, head: str) -> str:
    """A recipe as ``--recipe FILE`` reads it: the fields that differ from ``tutorial``, below a comment.

    Example:
        >>> print(recipe_file(TrainConfig(recipe="mine", units=8, mask_zero=True), "Mine."))
        # Mine.
        recipe = "mine"
        units = 8
        mask_zero = true
        <BLANKLINE>
    """
    base = TUTORIAL.model_dump()
    fields = {
        name: value for name, value in config.model_dump().items() if name == "recipe" or value != base[name]
    }
    return f"# {head}\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


def importance_of(study: Study) -> dict[str, float]:
    """Share of the variance of the loss that each field explains, by fANOVA; empty with too few trials."""
    losses = [trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    if len(losses) < _MIN_FOR_IMPORTANCE or len(set(losses)) < 2:
        return {}
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def describe_importance(shares: Mapping[str, float], rows: Sequence[TrialRow]) -> str:
    """The shares in words, or why there are none."""
    if shares:
        return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    count = len(by_loss(rows))
    if count < _MIN_FOR_IMPORTANCE:
        return f"needs {_MIN_FOR_IMPORTANCE} complete trials; there {'is' if count == 1 else 'are'} {count}"
    return "all complete trials have the same validation loss"


def count_of_trials(count: int) -> str:
    """A number of trials in words."""
    return f"{count:,} trial{'' if count == 1 else 's'}"


def format_value(value: Any) -> str:
    """A field's value, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_values(values: Mapping[str, Any]) -> str:
    """Values of several fields on one line."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items())
