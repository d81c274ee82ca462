"""A trial of a sweep, and what came of all of them: what they say about the searched fields, tables and words."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.exceptions import TrialPruned
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.errors import DivergedError
from sentiflow.evaluation.scores import Epoch
from sentiflow.redaction import escape_markdown
from sentiflow.reports.blocks import Table
from sentiflow.results import COMPLETE, DIVERGED, PRUNED, SweepResult, TrialRow, by_loss, seeds_table
from sentiflow.run.record import epoch_tags, value_text
from sentiflow.store.client import EpochLog
from sentiflow.store.records import NOTE
from sentiflow.sweeps.study import ENDED_AS, RUN_ID, UNSTABLE, Sweep, finished
from sentiflow.training.context import RunContext
from sentiflow.training.recipes import RECIPES, TUTORIAL, TrainConfig
from sentiflow.training.start_from import load_start

logger = logging.getLogger(__name__)

# Importance measured with fewer complete trials is noise: docs/sweeps.md has the measurement.
_MIN_FOR_IMPORTANCE = 10
_MAX_SHOWN = 10  # trials in the description; the tables have all


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


def markdown(result: SweepResult, prepared: Prepared, sweep: Sweep) -> str:
    fields = list(sweep.space.fields)
    best = by_loss(result.trials)
    trials = [
        [str(row.number), f"{row.loss:.4f}", str(row.epochs)] + [value_text(row.values[name]) for name in fields]
        for row in best[:_MAX_SHOWN]
    ]
    return f"""**{result.accuracy_line}**

- trials: {len(best)} complete, {len(result.trials) - len(best)} pruned; trial {best[0].number} has the lowest \
validation loss
- what mattered: {result.importance_text}
- searched: {", ".join(fields)}, from the recipe {escape_markdown(sweep.config.recipe)}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- registered: {result.model.name} version {result.model.version}, of seed {result.best.run.seed}, whose \
validation loss is lowest{"".join(f"; {sentence}" for sentence in result.comparisons)}
- the best recipe: `best.toml` among the artifacts, for `sentiflow train --recipe best.toml`

{Table(("trial", "validation loss", "epochs trained", *fields), trials, words=0).markdown()}

The best recipe, seed by seed, on the test split, which no trial has seen. All trials used seed {sweep.seed}: its \
validation loss is optimistic, as the best of the trials was chosen by it.

{seeds_table(result.seeds).markdown()}
"""


def recipe_file(config: TrainConfig, head: str) -> str:
    """A recipe as ``--recipe FILE`` reads it: what differs from the recipe of its name, else from tutorial."""
    base = TUTORIAL.model_dump()
    own = {name: value for name, value in config.model_dump().items() if name == "recipe" or value != base[name]}
    fields = config.short() if config.recipe in RECIPES else own
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
    if (count := len(by_loss(rows))) < _MIN_FOR_IMPORTANCE:
        return f"needs {_MIN_FOR_IMPORTANCE} complete trials; there are {count}"
    return "all complete trials have nearly the same validation loss"


def count_of_trials(count: int) -> str:
    return f"{count:,} trial{'' if count == 1 else 's'}"


def format_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in values.items())


def write_files(folder: Path, rows: Sequence[TrialRow], config: TrainConfig, name: str) -> None:
    """Write ``trials.parquet``, ``trials.csv`` and ``best.toml`` (the best recipe) of a sweep into a folder."""
    folder.mkdir(parents=True)
    own = pd.DataFrame([vars(row) for row in rows]).drop(columns="values")
    own = own.rename(columns={"number": "trial", "loss": "val_loss", "epochs": "epochs_trained"})
    trials = own.join(pd.DataFrame([row.values for row in rows]))  # whose fields may be epochs, too
    trials["run_id"] = trials.pop("run_id")  # last
    trials.to_parquet(folder / "trials.parquet", index=False)
    trials.to_csv(folder / "trials.csv", index=False)
    text = recipe_file(config, f"The best of {count_of_trials(len(rows))} of {name}, by validation.")
    (folder / "best.toml").write_text(text, encoding="utf-8")


def run_trial(asked: Trial, run: RunContext, prepared: Prepared) -> str:
    """Train to the end, the pruner's no or a divergence, which counts as pruned; gives how it ended."""
    asked.set_user_attr(RUN_ID, run.run_id)  # fails if the trial was ended meanwhile
    epochs: list[Epoch] = []
    log = EpochLog(run, run.config.epochs)

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        log.add(epoch)
        asked.report(epoch.val_loss, epoch.number)
        if epoch.number < run.config.epochs and asked.should_prune():
            raise TrialPruned

    title = f"trial {asked.number} tries {format_values(asked.params)}"
    logger.info("%s", title)
    state, kept = _trained(run, prepared, on_epoch)
    loss = "".join(f", val loss {epoch.val_loss:.4f}" for epoch in ([kept] if kept else epochs[-1:]))
    line = f"trial {asked.number} {state} after {len(epochs)} epoch{'' if len(epochs) == 1 else 's'}{loss}"
    log.end(kept)
    best = kept.number if kept and run.config.early_stopping_patience else None
    run.tag({"trial.state": state, **epoch_tags(len(epochs), best), NOTE: f"{title}\n\n{line}"})
    logger.info("%s", line)
    # The study before the run's end: an open run of a finished trial is complete, and closed with the next sweep.
    asked.set_user_attr(ENDED_AS, state)
    if kept is None:
        asked.study.tell(asked, state=TrialState.PRUNED)
    else:
        asked.study.tell(asked, kept.val_loss)
    return line


def _trained(run: RunContext, prepared: Prepared, on_epoch: Callable[[Epoch], None]) -> tuple[str, Epoch | None]:
    """Train; gives the trial's state, and if it is complete the epoch whose weights are kept."""
    train_split, validation = reviews.read(prepared.table).learning_splits(run.config.validation_fraction)
    from sentiflow.training.network.loop import train_from

    try:
        start, words = load_start(run.start, run.settings), reviews.read_vocabulary(prepared.table)
        config = run.config.model_copy(update={"final_training": False})  # a trial is judged before it
        trained = train_from(start, words, train_split, validation, config, run.seed, on_epoch, progress_bar)
    except TrialPruned:
        return PRUNED, None
    except DivergedError:
        return DIVERGED, None
    return COMPLETE, trained.kept
