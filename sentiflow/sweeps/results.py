"""What came of a sweep: its trials, what they say about the searched fields, files and words about them.

The pictures are not those of ``optuna.visualization.matplotlib``: its history leaves pruned trials out, and its
parallel coordinates have ticks on top of each other and no mark on the best trial.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import Spread
from sentiflow.recipes import TUTORIAL, TrainConfig
from sentiflow.reports import plots
from sentiflow.reports.page import Table, escape_markdown
from sentiflow.reports.plots import BLUE, GREY, ORANGE, describe
from sentiflow.results import ModelResult, SeedResult
from sentiflow.sweeps.space import Range, SearchSpace, Value
from sentiflow.sweeps.study import ENDED_AS, RUN_ID, UNSTABLE, Sweep, finished

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


def write_files(folder: Path, rows: Sequence[TrialRow], sweep: Sweep, config: TrainConfig, name: str) -> None:
    """Write plots, ``trials.parquet``, ``trials.csv`` and ``best.toml`` into a new folder.

    ``config`` is the best recipe, ``name`` that of the sweep's run.
    """
    pictures = {"history": _history(rows), "parallel_coordinates": _parallel_coordinates(rows, sweep.space)}
    plots.save(pictures, folder / "plots")
    own = pd.DataFrame([vars(row) for row in rows]).drop(columns="values")
    own = own.rename(columns={"number": "trial", "loss": "val_loss", "epochs": "epochs_trained"})
    trials = own.join(pd.DataFrame([row.values for row in rows]))  # whose fields may be epochs, too
    trials["run_id"] = trials.pop("run_id")  # last
    trials.to_parquet(folder / "trials.parquet", index=False)
    trials.to_csv(folder / "trials.csv", index=False)
    text = recipe_file(config, f"The best of {count_of_trials(len(rows))} of {name}, by validation.")
    (folder / "best.toml").write_text(text, encoding="utf-8")


def write_importance(folder: Path, shares: Mapping[str, float], words: str) -> None:
    """Write the plot of the shares, or a text file that says why there is none."""
    if shares:
        _importance(shares).savefig(folder / "importance.png", dpi=120)
    else:
        (folder / "importance.txt").write_text(f"What mattered: {words}.\n", encoding="utf-8")


_LOSS = "validation loss (nats)"


def _importance(shares: Mapping[str, float]) -> Figure:
    """Bars of each field's share of the variance of the validation loss, the largest on top."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = Figure(figsize=(6.4, 1.2 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [shares[name] for name in names], color=BLUE)
    axes.bar_label(bars, fmt=lambda share: f"{share:.0%}", padding=3)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.margins(x=0.12)
    describe(axes, "Importance", "share of the variance between complete trials", "")
    return figure


def _history(rows: Sequence[TrialRow]) -> Figure:
    """The loss of each trial, for pruned ones the lowest they reached, and the lowest of complete ones so far."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    done = [row for row in rows if row.state == COMPLETE]
    axes.plot([row.number for row in done], _losses(done), "o", color=BLUE, label="complete")
    cut = [row for row in rows if row.state != COMPLETE and row.loss is not None]
    if cut:
        axes.plot([row.number for row in cut], _losses(cut), "x", color=GREY, label="pruned")
    lowest = np.minimum.accumulate(_losses(done))
    axes.step(
        [row.number for row in done], lowest, where="post", color=ORANGE, label="lowest of the complete so far"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False)
    describe(axes, "History", "trial", _LOSS)
    return figure


def _parallel_coordinates(rows: Sequence[TrialRow], space: SearchSpace) -> Figure:
    """A line per complete trial through its values: the darker, the lower the loss; the best is orange."""
    ranked = by_loss(rows)[::-1]  # the best is drawn last, on top
    losses = _losses(ranked)
    names = list(space.fields)
    figure = Figure(figsize=(1.6 + 1.35 * len(names), 4.2), layout="constrained")
    axes = figure.subplots()
    scale = ScalarMappable(Normalize(min(losses), max(losses)), cmap="viridis")
    for row, loss in zip(ranked, losses, strict=True):
        heights = [_height(space, name, row.values[name]) for name in names]
        best = row is ranked[-1]
        colour = ORANGE if best else scale.to_rgba(np.array(loss))
        axes.plot(heights, color=colour, linewidth=2.5 if best else 1.2, zorder=2)
    figure.colorbar(scale, ax=axes, label=_LOSS, pad=0.02)
    describe(axes, "What was tried (orange: the best trial)", "", "")
    _axes_of(axes, space)
    return figure


def _losses(rows: Sequence[TrialRow]) -> list[float]:
    return [row.loss for row in rows if row.loss is not None]


def _axes_of(axes: Axes, space: SearchSpace) -> None:
    """Draw a vertical line per field, labelled with the ends of its range or its choices."""
    axes.set_xticks(range(len(space.fields)), [name.replace("_", "\n") for name in space.fields])
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(visible=False)
    axes.set_xlim(-0.3, len(space.fields) - 0.3)
    for place, (name, one) in enumerate(space.fields.items()):
        axes.axvline(place, color=GREY, linewidth=0.8, zorder=1)
        for value in (one.low, one.high) if isinstance(one, Range) else one.choices:
            axes.annotate(
                format_value(value), (place, _height(space, name, value)), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=8, zorder=3,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip


def _height(space: SearchSpace, name: str, value: Value) -> float:
    """Position of a value on the line of its field, from 0 to 1."""
    one = space.fields[name]
    if not isinstance(one, Range):
        return one.choices.index(value) / (len(one.choices) - 1)
    low, high, at = one.low, one.high, float(value)
    if one.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return float((at - low) / (high - low))
