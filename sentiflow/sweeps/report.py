"""What a sweep leaves as files: plots, tables of its trials, and the best recipe.

The pictures are not those of ``optuna.visualization.matplotlib``: its history leaves pruned trials out, and its
parallel coordinates have ticks on top of each other and no mark on the best trial.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sentiflow.recipes import TrainConfig
from sentiflow.reports import plots
from sentiflow.reports.plots import BLUE, GREY, ORANGE, describe
from sentiflow.sweeps.results import COMPLETE, TrialRow, by_loss, count_of_trials, recipe_file, table
from sentiflow.sweeps.space import Range, SearchSpace, Value
from sentiflow.sweeps.study import Sweep


def write_files(folder: Path, rows: Sequence[TrialRow], sweep: Sweep, config: TrainConfig, name: str) -> None:
    """Write plots, ``trials.parquet``, ``trials.csv`` and ``best.toml`` into a folder.

    Args:
        folder: is made.
        rows: of finished trials.
        sweep: whose trials.
        config: the best recipe.
        name: of the sweep's run.
    """
    pictures = {"history": history(rows), "parallel_coordinates": parallel_coordinates(rows, sweep.space)}
    plots.save(pictures, folder / "plots")
    trials = table(rows)
    trials.to_parquet(folder / "trials.parquet", index=False)
    trials.to_csv(folder / "trials.csv", index=False)
    text = recipe_file(config, f"The best of {count_of_trials(len(rows))} of {name}, by validation.")
    (folder / "best.toml").write_text(text, encoding="utf-8")


def write_importance(folder: Path, shares: Mapping[str, float], words: str) -> None:
    """Write the plot of the shares, or a text file that says why there is none."""
    if shares:
        importance(shares).savefig(folder / "importance.png", dpi=120)
    else:
        (folder / "importance.txt").write_text(f"What mattered: {words}.\n", encoding="utf-8")


_LOSS = "validation loss (nats)"


def importance(shares: Mapping[str, float]) -> Figure:
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


def history(rows: Sequence[TrialRow]) -> Figure:
    """The loss of each trial, for pruned ones the lowest they reached, and the lowest of complete ones so far."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    done = [row for row in rows if row.state == COMPLETE]
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
    """Draw a vertical line per field, labelled with the ends of its range or its choices."""
    axes.set_xticks(range(len(space.fields)), [name.replace("_", "\n") for name in space.fields])
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(visible=False)
    axes.set_xlim(-0.3, len(space.fields) - 0.3)
    for place, (name, field) in enumerate(space.fields.items()):
        axes.axvline(place, color=GREY, linewidth=0.8, zorder=1)
        for value in (field.low, field.high) if isinstance(field, Range) else field.choices:
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
    """Position of a value on the line of its field, from 0 to 1."""
    field = space.fields[name]
    if not isinstance(field, Range):
        return field.choices.index(value) / (len(field.choices) - 1)
    low, high, at = field.low, field.high, float(value)
    if field.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return float((at - low) / (high - low))
