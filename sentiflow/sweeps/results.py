"""The trials of a sweep as a table and as pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sentiflow.recipes import TUTORIAL, TrainConfig
from sentiflow.reports.plots import BLUE, GREY, ORANGE, describe
from sentiflow.sweeps.space import Range, SearchSpace, Value

COMPLETE, PRUNED, DIVERGED = "complete", "pruned", "diverged"


@dataclass(frozen=True)
class TrialRow:
    """One finished trial.

    Attributes:
        number: 0 is the first.
        state: complete, pruned, or diverged, which counts as pruned.
        loss: validation loss of the epoch kept, if complete; else the lowest seen, None if none was.
        epochs: that it trained.
        seconds: wall time.
        values: what it tried.
        run_id: of its MLflow run.
    """

    number: int
    state: str
    loss: float | None
    epochs: int
    seconds: float
    values: Mapping[str, Value]
    run_id: str


def complete(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Those that trained to their end."""
    return [row for row in rows if row.state == COMPLETE]


def by_loss(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The complete ones, the lowest validation loss first; the first of equals."""
    return sorted(complete(rows), key=lambda row: (row.loss if row.loss is not None else float("inf"), row.number))


def table(rows: Sequence[TrialRow]) -> pd.DataFrame:
    """A row a trial, a column a field that was searched."""
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


_LOSS = "validation loss (nats)"


def importance(shares: Mapping[str, float]) -> Figure:
    """How much of the differences in validation loss each field explains, the most on top."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = Figure(figsize=(6.4, 1.2 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [shares[name] for name in names], color=BLUE)
    axes.bar_label(bars, fmt=lambda share: f"{share:.0%}", padding=3)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.margins(x=0.12)
    describe(axes, "Importance", "share of the variance between complete trials", "")
    return figure


def history(rows: Sequence[TrialRow]) -> Figure:
    """Each trial's loss, and the lowest so far; pruned ones by the lowest that they had reached."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    done = complete(rows)
    axes.plot([row.number for row in done], _losses(done), "o", color=BLUE, label="complete")
    cut = [row for row in rows if row not in done and row.loss is not None]
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


def parallel_coordinates(rows: Sequence[TrialRow], space: SearchSpace) -> Figure:
    """A line a complete trial, through what it tried; the darker, the lower its loss; the best one stands out."""
    ranked = by_loss(rows)[::-1]  # the best is drawn last, on top
    losses = _losses(ranked)
    names = list(space.fields)
    figure = Figure(figsize=(1.6 + 1.35 * len(names), 4.2), layout="constrained")
    axes = figure.subplots()
    scale = ScalarMappable(Normalize(min(losses), max(losses)), cmap="viridis")
    for row, loss in zip(ranked, losses, strict=True):
        heights = [_height(space, name, row.values[name]) for name in names]
        best = row is ranked[-1]
        axes.plot(
            heights,
            color=ORANGE if best else scale.to_rgba(np.array(loss)),
            linewidth=2.5 if best else 1.2,
            zorder=2,
        )
    figure.colorbar(scale, ax=axes, label=_LOSS, pad=0.02)
    describe(axes, "What was tried (orange: the best trial)", "", "")
    _axes_of(axes, space)
    return figure


def _losses(rows: Sequence[TrialRow]) -> list[float]:
    """Of rows that have one."""
    return [row.loss for row in rows if row.loss is not None]


def _axes_of(axes: Axes, space: SearchSpace) -> None:
    """A vertical line a field, with the values at its ends or its choices beside it."""
    axes.set_xticks(range(len(space.fields)), [name.replace("_", "\n") for name in space.fields])
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(visible=False)
    axes.set_xlim(-0.3, len(space.fields) - 0.3)
    for place, (name, field) in enumerate(space.fields.items()):
        axes.axvline(place, color=GREY, linewidth=0.8, zorder=1)
        for value in (field.low, field.high) if isinstance(field, Range) else field.values:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            axes.annotate(
                shown,
                (place, _height(space, name, value)),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
                zorder=3,
            )


def _height(space: SearchSpace, name: str, value: Value) -> float:
    """Where a value stands on its line, from 0 to 1."""
    field = space.fields[name]
    if not isinstance(field, Range):
        return field.values.index(value) / (len(field.values) - 1)
    low, high, at = field.low, field.high, float(value)
    if field.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return float((at - low) / (high - low))
