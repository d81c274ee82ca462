"""What came of a sweep: its trials, what they say about the searched fields, tables and words about them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import Spread
from sentiflow.redaction import escape_markdown
from sentiflow.reports.page import Table
from sentiflow.results import ModelResult, SeedResult
from sentiflow.sweeps.space import Value
from sentiflow.sweeps.study import ENDED_AS, RUN_ID, UNSTABLE, Sweep, finished
from sentiflow.training.recipes import TUTORIAL, TrainConfig

COMPLETE, PRUNED, DIVERGED = "complete", "pruned", "diverged"

# Importance measured with fewer complete trials is noise: docs/sweeps.md has the measurement.
_MIN_FOR_IMPORTANCE = 10
_MAX_SHOWN = 10  # trials in the description; the tables have all


@dataclass(frozen=True)
class TrialRow:
    """One finished trial, by Optuna's number, with its values of the searched fields; the seconds are wall time.

    Attributes:
        state: complete, pruned, or diverged, with its own seed or when it was trained with others as the best;
            diverged counts as pruned.
        loss: validation loss of the epoch kept, if complete; else the lowest seen, None if none was.
    """

    number: int
    state: str
    loss: float | None
    epochs: int
    seconds: float
    values: Mapping[str, Value]
    run_id: str


def trial_rows(study: Study) -> list[TrialRow]:
    """The finished trials, by their numbers."""
    unstable = study.user_attrs.get(UNSTABLE, [])
    return [_row(trial, unstable) for trial in finished(study)]


def _row(trial: FrozenTrial, unstable: Sequence[int]) -> TrialRow:
    losses = trial.intermediate_values.values()
    complete = trial.state == TrialState.COMPLETE
    return TrialRow(
        number=trial.number,
        state=DIVERGED if trial.number in unstable else trial.user_attrs[ENDED_AS],
        loss=trial.value if complete else min(losses, default=None),
        epochs=len(losses),
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
        values=trial.params,
        run_id=trial.user_attrs[RUN_ID],
    )


def by_loss(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The complete trials, the lowest validation loss first; the first of equals."""
    complete = [row for row in rows if row.state == COMPLETE]
    return sorted(complete, key=lambda row: (row.loss or 0.0, row.number))


@dataclass(frozen=True)
class SweepResult(ModelResult):
    """The outcome of a sweep: its finished trials, in their order, and the seeds of the best recipe, ``config``.

    The seed whose validation loss is lowest, ``best``, is registered. The seconds are wall time of the whole.

    Attributes:
        recipe: URI of the best recipe as a file in the store; not shown, as it may hold a login.
        importance: share of the variance that each field explains; empty with too few complete trials.
        importance_text: the same in words, or why there are none.
        accuracy: of the test split, over the seeds; None for a single one.
    """

    trials: tuple[TrialRow, ...]
    config: TrainConfig
    recipe: str = field(repr=False)
    importance: Mapping[str, float]
    importance_text: str
    seeds: tuple[SeedResult, ...]
    best: SeedResult
    accuracy: Spread | None
    seconds: float

    @property
    def accuracy_line(self) -> str:
        """The outcome in one sentence."""
        if self.accuracy is None:
            return f"Test accuracy of the best recipe: {self.best.measured.text()}."
        return (
            f"Test accuracy of the best recipe over {len(self.seeds)} seeds: mean {self.accuracy.mean:.2%}, "
            f"{self.accuracy.text()}."
        )

    @property
    def metrics(self) -> dict[str, float]:
        """Lowest loss, accuracy over the seeds, or of a single seed with its interval, and importances."""
        if self.accuracy is not None:
            found = self.accuracy.as_metrics("test/accuracy")
        else:
            names = ("accuracy", "accuracy_ci_low", "accuracy_ci_high")
            found = {f"test/{name}": getattr(self.best.measured, name) for name in names}
        importances = {f"importance/{name}": share for name, share in self.importance.items()}
        return {"val/loss": by_loss(self.trials)[0].loss or 0.0, **found, **importances}


def markdown(result: SweepResult, prepared: Prepared, sweep: Sweep, seeds: Table) -> str:
    """The whole in words and tables."""
    fields = list(sweep.space.fields)
    best = by_loss(result.trials)
    trials = [
        [str(row.number), f"{row.loss:.4f}", str(row.epochs)] + [format_value(row.values[name]) for name in fields]
        for row in best[:_MAX_SHOWN]
    ]
    return f"""**{result.accuracy_line}**

- trials: {len(best)} complete, {len(result.trials) - len(best)} pruned; trial {best[0].number} has the lowest \
validation loss
- what mattered: {result.importance_text}
- searched: {", ".join(fields)}, from the recipe {escape_markdown(sweep.config.recipe)}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- registered: {result.model.name} version {result.model.version}, of seed {result.best.run.seed}, whose \
validation loss is lowest{"" if result.yardstick is None else f"; {result.yardstick.text}"}
- the best recipe: `best.toml` among the artifacts, for `sentiflow train --recipe best.toml`

{Table(("trial", "validation loss", "epochs trained", *fields), trials, words=0).markdown()}

The best recipe, seed by seed, on the test split, which no trial has seen. All trials used seed {sweep.seed}: its \
validation loss is optimistic, as the best of the trials was chosen by it.

{seeds.markdown()}
"""


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
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items()]
    return f"# {' '.join(head.split())}\n{''.join(lines)}".replace("\x7f", "\\u007f")


def importance_of(study: Study) -> dict[str, float]:
    """Share of the variance of the loss that each field explains, by fANOVA; empty with too few trials."""
    losses = [trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    if len(losses) < _MIN_FOR_IMPORTANCE or len(set(losses)) < 2:
        return {}
    try:
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (RuntimeError, ValueError):  # its trees find no difference, or a value is beyond them
        return {}


def describe_importance(shares: Mapping[str, float], rows: Sequence[TrialRow]) -> str:
    """The shares in words, or why there are none."""
    if shares:
        return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    count = len(by_loss(rows))
    if count < _MIN_FOR_IMPORTANCE:
        return f"needs {_MIN_FOR_IMPORTANCE} complete trials; there {'is' if count == 1 else 'are'} {count}"
    return "all complete trials have nearly the same validation loss"


def count_of_trials(count: int) -> str:
    """A number of trials in words."""
    return f"{count:,} trial{'' if count == 1 else 's'}"


def format_value(value: Any) -> str:
    """A field's value, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_values(values: Mapping[str, Any]) -> str:
    """Values of several fields on one line."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items())


def write_files(folder: Path, rows: Sequence[TrialRow], config: TrainConfig, name: str) -> None:
    """Write ``trials.parquet``, ``trials.csv`` and ``best.toml`` into a new folder.

    ``config`` is the best recipe, ``name`` that of the sweep's run.
    """
    folder.mkdir(parents=True)
    own = pd.DataFrame([vars(row) for row in rows]).drop(columns="values")
    own = own.rename(columns={"number": "trial", "loss": "val_loss", "epochs": "epochs_trained"})
    trials = own.join(pd.DataFrame([row.values for row in rows]))  # whose fields may be epochs, too
    trials["run_id"] = trials.pop("run_id")  # last
    trials.to_parquet(folder / "trials.parquet", index=False)
    trials.to_csv(folder / "trials.csv", index=False)
    text = recipe_file(config, f"The best of {count_of_trials(len(rows))} of {name}, by validation.")
    (folder / "best.toml").write_text(text, encoding="utf-8")
