"""A trial of a sweep: one training, judged by its validation loss after each epoch."""

from collections.abc import Callable

from optuna.exceptions import TrialPruned
from optuna.trial import Trial, TrialState

from sentiflow.console import Logger, progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.errors import DivergedError
from sentiflow.evaluation import Epoch
from sentiflow.runs.record import epoch_tags
from sentiflow.store.client import EpochLog
from sentiflow.store.types import NOTE
from sentiflow.sweeps.outcome import COMPLETE, DIVERGED, PRUNED, format_values
from sentiflow.sweeps.study import ENDED_AS, RUN_ID
from sentiflow.training.context import RunContext
from sentiflow.training.start_from import load_start


def run_trial(asked: Trial, run: RunContext, prepared: Prepared, logger: Logger) -> str:
    """Train until the end, the pruner or a divergence stops it, and say so to the run and to the study.

    A diverged training counts as pruned, so that the study avoids such values. Gives how it ended, in words.
    """
    asked.set_user_attr(RUN_ID, run.run_id)  # fails if the trial was ended meanwhile
    epochs: list[Epoch] = []
    log = EpochLog(run, run.config.epochs, logger)

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
    for name, value in ((RUN_ID, run.run_id), (ENDED_AS, state)):
        asked.set_user_attr(name, value)
    if kept is None:
        asked.study.tell(asked, state=TrialState.PRUNED)
    else:
        asked.study.tell(asked, kept.val_loss)
    return line


def _trained(run: RunContext, prepared: Prepared, on_epoch: Callable[[Epoch], None]) -> tuple[str, Epoch | None]:
    """Train; gives the trial's state, and if it is complete the epoch whose weights are kept."""
    train_split, validation = reviews.read(prepared.table).learning_splits(run.config.validation_fraction)
    from sentiflow.training.network.start import train_from

    try:
        start, words = load_start(run.start, run.settings), reviews.read_vocabulary(prepared.table)
        config = run.config.model_copy(update={"final_training": False})  # a trial is judged before it
        trained = train_from(start, words, train_split, validation, config, run.seed, on_epoch, progress_bar)
    except TrialPruned:
        return PRUNED, None
    except DivergedError:
        return DIVERGED, None
    return COMPLETE, trained.kept
