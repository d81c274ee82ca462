"""Train the network."""

from typing import TYPE_CHECKING

from prefect import get_run_logger, task

from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.network import history
from sentiflow.recipes import TrainConfig
from sentiflow.tracking.client import EpochLog
from sentiflow.tracking.results import RunContext, TrainedFiles

if TYPE_CHECKING:  # it imports TensorFlow
    from sentiflow.network.training import Trained


@task(name="train", task_run_name="train", persist_result=False)
def train(run: RunContext, prepared: Prepared) -> TrainedFiles:
    """Train the recipe's network on the training split; never retried, a failure here would only repeat.

    Written: the Keras model, its weights and its history in the run's work folder; metrics of each epoch,
    ``train/epochs``, ``train/kept_epoch``, ``time/load`` and ``time/train`` on the run.
    """
    logger = get_run_logger()
    config = run.config
    with run.timed("load"):
        # In this order: TensorFlow's import goes on in the background meanwhile.
        train_split, validation = reviews.read(prepared.table).learning_splits(config.validation_fraction)
        from sentiflow.network import model, training  # TensorFlow: only here

    epochs = EpochLog(run, config.epochs, logger)
    logger.info("training on %d reviews, validating on %d", len(train_split), len(validation))
    trained = training.train(train_split, validation, config, run.seed, epochs.add, progress_bar)
    kept = trained.history[trained.kept - 1]
    files = TrainedFiles(
        run.work / "model.keras", run.work / "trained-weights.npz", run.work / "history.json", kept
    )
    trained.network.save(files.keras)
    model.weights_of(trained.network).save(files.weights)
    history.save(trained.history, files.history)
    epochs.flush()
    run.text(model.summary_of(trained.network), "model_summary.txt")
    counts = {"train/epochs": len(trained.history), "train/kept_epoch": kept.number}
    run.log({"time/train": trained.seconds, **counts})
    if config.patience:
        logger.info(_ending(trained, config))
    return files


def _ending(trained: "Trained", config: TrainConfig) -> str:
    """How a training with patience ended."""
    last, kept = trained.history[-1], trained.history[trained.kept - 1]
    patient = f"no lower validation loss for {config.patience} epochs"
    why = "all epochs done" if last.number == config.epochs else patient
    return (
        f"{why}: kept epoch {kept.number} of {last.number}, val loss {kept.val_loss:.4f} "
        f"accuracy {kept.val_accuracy:.2%}"
    )
