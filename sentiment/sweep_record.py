"""What came of a sweep, as rows, and as a recipe to train again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sentiment.recipes import SEED, TrainConfig
from sentiment.search_space import Value

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
    """A recipe as ``--recipe FILE`` reads it: the fields that differ from ``seed``, below a comment.

    Example:
        >>> print(recipe_file(TrainConfig(recipe="mine", units=8, mask_zero=True), "Mine."))
        # Mine.
        recipe = "mine"
        units = 8
        mask_zero = true
        <BLANKLINE>
    """
    base = SEED.model_dump()
    fields = {
        name: value for name, value in config.model_dump().items() if name == "recipe" or value != base[name]
    }
    return f"# {head}\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())
