"""Tasks of a sweep: its beginning, a trial, a seed of its best recipe."""

import gc
import logging
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState
from prefect import task

from sentiflow.data.prepare import Prepared
from sentiflow.errors import DeletedError, ExternalError
from sentiflow.operations.job import collect_logs
from sentiflow.pipeline.training import Steps
from sentiflow.results import SeedResult
from sentiflow.run.record import TRIAL
from sentiflow.sweeps import study
from sentiflow.sweeps.space import SearchSpace
from sentiflow.sweeps.study import Sweep, open_study, study_errors
from sentiflow.training.context import RunContext
from sentiflow.training.open_run import child_run, seeds_label
from sentiflow.training.recipes import TrainConfig

logger = logging.getLogger(f"sentiflow.{__name__}")


@task(name="begin", task_run_name="begin", persist_result=False)
def begin(run: RunContext, prepared: Prepared, space: SearchSpace, name: str, restart: bool) -> Sweep:
    """Start a sweep, or continue the unfinished one that is the same; what was running is tried again."""
    if outside := space.outside(run.config):
        values = study.format_values(outside)
        logger.warning("the recipe is outside of the space, and so not tried itself: %s", values)
    sweep = study.begin(run, prepared.digest, space, name, restart=restart)
    if done := len(study.finished(open_study(sweep))):
        logger.info("continuing an unfinished sweep: %s done", study.count_of_trials(done))
    return sweep


@task(name="start worker", task_run_name="start worker", persist_result=False)
def start_worker() -> None:
    """Import TensorFlow in a worker process while the data is prepared."""
    import sentiflow.training.network.loop  # noqa: F401

    gc.freeze()  # what is imported stays; to look through it after each trial takes half a second


@task(name="trial", task_run_name="trial {asked.number}", persist_result=False)
def trial(parent: RunContext, prepared: Prepared, asked: Trial, config: TrainConfig) -> str:
    """Train with the values of a trial, and report the validation loss to its study; gives how it ended.

    The test split is not used. After a kill, and after a failure of the store say, the trial still runs: the same
    sweep tries it again.
    """
    collect_logs()  # a worker runs no flow
    name = f"trial{asked.number:02d}-{parent.name.removeprefix('sweep-')}"
    tags = {"trial.number": str(asked.number)}
    try:
        with study_errors(), child_run(parent, name, TRIAL, prepared, config=config, tags=tags) as run:
            return study.run_trial(asked, run, prepared)
    except UpdateFinishedTrialError:  # Dask gives a trial to another worker when it hears nothing from the first
        return f"trial {asked.number} was given up: another worker or sweep has ended it"
    except DeletedError:
        asked.study.tell(asked, state=TrialState.FAIL, skip_if_finished=True)
        return f"trial {asked.number} was deleted in MLflow"
    except ExternalError:
        raise
    except Exception:
        asked.study.tell(asked, state=TrialState.FAIL, skip_if_finished=True)
        raise
    finally:
        gc.collect()  # a worker trains many networks, which hold reference cycles


@task(name="train the best", task_run_name="train the best, seed {seed}", persist_result=False)
def train_best(
    parent: RunContext, prepared: Prepared, config: TrainConfig, seed: int, baseline: Path | None
) -> SeedResult:
    """Train the best recipe with one seed, and evaluate it on the test split, as ``repeat`` does."""
    collect_logs()
    name = f"best-{seeds_label(seed)}-{parent.name.removeprefix('sweep-')}"
    return Steps().train_seed(parent, prepared, name, seed, baseline, config)
