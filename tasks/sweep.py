"""Begin a sweep, or go on with the one that was killed; and what its study holds."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

from mlflow.entities import Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from prefect import get_run_logger, task

from sentiment.data.prepare import Prepared
from sentiment.output import redact
from sentiment.search_space import SearchSpace
from sentiment.settings import load_settings
from sentiment.sweep_record import TrialRow
from tasks.results import RunContext
from tasks.study import (
    ENDED_AS,
    FINISHED,
    PARENTS,
    REFUSED,
    RETRY_OF,
    RUN_ID,
    Sweep,
    finished,
    identity,
    open_study,
)
from tasks.tracking import connect, tracking_errors


@task(name="begin", task_run_name="begin", persist_result=False)
def begin(run: RunContext, prepared: Prepared, space: SearchSpace, name: str, restart: bool) -> Sweep:
    """Begin a sweep, or take over an unfinished one: same recipe, space, seed, dataset, store and name.

    Of an unfinished one, finished trials stay and become children of this run; what was running is marked as
    failed, and what it tried waits to be tried again. Its processes are gone, or notice that they are not wanted.

    Written: the study's journal in the data folder, which goes when the sweep is finished; tags of earlier runs.
    """
    settings = load_settings()
    client = connect(settings)
    store = {"store": redact(settings.tracking_uri), "experiment": settings.experiment}
    mine = identity(run.config, run.seed, dataset=prepared.digest, space=space.digest, name=name, **store)
    home = settings.data_dir / "sweeps" / run.model_name / mine
    fresh = Sweep(home / run.run_id, space, run.config, run.seed)
    with tracking_errors(settings.tracking_uri):
        sweep = _unfinished(client, home, fresh, restart=restart)
        study = open_study(sweep)
        parents = study.user_attrs.get(PARENTS, [])
        if parents:
            _take_over(client, study, run, parents)
        elif space.holds(run.config):
            # The recipe as it is comes first: whatever is found is then no worse than that.
            values = run.config.model_dump(include=set(space.fields))
            study.enqueue_trial(values, skip_if_exists=True)
        study.set_user_attr(PARENTS, [*parents, run.run_id])
    return sweep


def end(sweep: Sweep) -> None:
    """Forget the study of a finished sweep: the same command begins another."""
    shutil.rmtree(sweep.folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # the same sweep has begun anew, in a folder of its own
        sweep.folder.parent.rmdir()


def log_size(run: RunContext, **sizes: object) -> None:
    """Log how large a sweep is, as parameters of its run."""
    settings = load_settings()
    with tracking_errors(settings.tracking_uri):
        params = [Param(f"sweep.{name}", str(value)) for name, value in sizes.items()]
        connect(settings).log_batch(run.run_id, params=params)


def left_to_do(sweep: Sweep, trials: int) -> range:
    """Places of the trials that are still to be run, counted on from those that there are."""
    study = open_study(sweep)
    begun = sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    return range(begun, begun + max(0, trials - len(finished(study))))


def rows(study: Study) -> list[TrialRow]:
    """The finished trials."""
    return [_row(trial) for trial in finished(study)]


def _row(trial: FrozenTrial) -> TrialRow:
    losses = trial.intermediate_values.values()
    complete = trial.state == TrialState.COMPLETE
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    return TrialRow(
        trial.number,
        trial.user_attrs[ENDED_AS],
        trial.value if complete else min(losses, default=None),
        len(losses),
        seconds,
        trial.params,
        trial.user_attrs[RUN_ID],
    )


def _unfinished(client: MlflowClient, home: Path, fresh: Sweep, *, restart: bool) -> Sweep:
    """The sweep to go on with if there is one, else the fresh one.

    A folder is never used by two beginnings: a worker far away that still trains for the old one would report to
    trials of the new one that have the same numbers.
    """
    for folder in sorted(home.glob("*/")):
        earlier = replace(fresh, folder=folder)
        study = open_study(earlier)
        parents = study.user_attrs.get(PARENTS, [])
        why = "it was asked for" if restart else _why_not(client, study, parents)
        if why is None:
            return earlier
        if parents:
            get_run_logger().info("beginning anew: %s", why)
        shutil.rmtree(folder)
    return fresh


def _why_not(client: MlflowClient, study: Study, parents: list[str]) -> str | None:
    """Why an earlier sweep is not gone on with; None if it is."""
    if not parents:
        return "the earlier sweep had not begun"
    if _status(client, parents[-1]) == "FINISHED":
        return "the earlier sweep is finished"
    if any(_status(client, trial.user_attrs[RUN_ID]) is None for trial in finished(study)):
        return "runs of the earlier sweep are gone from the store"
    return None


def _status(client: MlflowClient, run_id: str) -> str | None:
    """Status of a run; None when there is none, or it was deleted."""
    try:
        info = client.get_run(run_id).info
    except MlflowException as err:
        if err.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return str(info.status) if info.lifecycle_stage == "active" else None


def _take_over(client: MlflowClient, study: Study, run: RunContext, parents: list[str]) -> None:
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.state in FINISHED:
            _adopt(client, trial, run.run_id)
            continue
        if trial.number not in retried and _is_worth_another_try(trial):
            study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    for parent in parents:
        if _status(client, parent) is not None:
            client.set_tag(parent, "continued_by", run.run_id)
    done = sum(trial.state in FINISHED for trial in trials)
    told = "1 trial is" if done == 1 else f"{done} trials are"
    get_run_logger().info("going on with an unfinished sweep: %s done", told)


def _is_worth_another_try(trial: FrozenTrial) -> bool:
    """Whether a kill ended it, or it failed for the first time; values that do not go together never are."""
    if trial.state == TrialState.RUNNING:
        return True
    tried_again, refused = RETRY_OF in trial.user_attrs, REFUSED in trial.user_attrs
    return trial.state == TrialState.FAIL and not tried_again and not refused


def _adopt(client: MlflowClient, trial: FrozenTrial, parent: str) -> None:
    """Hang a finished trial's run below another parent; one that was killed before it was closed is whole."""
    run_id = trial.user_attrs[RUN_ID]
    client.set_tag(run_id, "mlflow.parentRunId", parent)
    run = client.get_run(run_id)
    if run.info.status != "FINISHED":
        ended = int(trial.datetime_complete.timestamp() * 1000) if trial.datetime_complete else None
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED), end_time=ended)
        if "end" in run.data.tags:
            client.delete_tag(run_id, "end")
