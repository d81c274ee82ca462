"""From a registered version to the champion."""

from typing import Annotated, cast

from prefect import get_run_logger, runtime
from prefect.states import Completed
from pydantic import Field

from sentiflow.errors import SentiflowError
from sentiflow.names import model_name
from sentiflow.orchestration.flow_runs import job
from sentiflow.promotion.choice import judged_already, nothing_new
from sentiflow.promotion.history import MAX_REASON, check_request
from sentiflow.promotion.switch import Outcome
from sentiflow.settings import load_settings
from tasks.promote import decide, evaluate_candidate, need_server, switch

Version = Annotated[int | None, Field(ge=1)]
Reason = Annotated[str, Field(max_length=MAX_REASON)]


@job(lambda given: f"{model_name(given['dataset'])}-version-{given['version'] or 'best'}")
def promote(dataset: str = "imdb", version: Version = None, force: bool = False, reason: Reason = "") -> Outcome:
    """Promote a registered version if all checks pass.

    1. gate: candidate and champion on the same test reviews, and the cost of the packaged model
    2. decide: the gate's decision, unless overridden by force; with approval in the settings, a person's
    3. switch: write it down, then move the alias

    A refusal fails the flow run, with the reason. A run of the deployment that has nothing new to judge ends as
    Skipped, without a result.

    Args:
        dataset: Whose model: imdb, sample, or the name of your table.
        version: Which version; empty for the lowest validation loss of those never in use.
        force: Promote even if checks fail; needs a reason, and is recorded.
        reason: Why; kept in the history.
    """
    check_request(reason, force=force)
    settings, name = load_settings(), model_name(dataset)
    need_server(settings)
    if runtime.deployment.id and not force and (why := nothing_new(name, version, settings)):
        get_run_logger().info(why)
        return cast("Outcome", Completed(message=why, name="Skipped"))  # Prefect ends the run in it
    outcome = steps(name, version, force=force, reason=reason)
    outcome.need_promotion()
    return outcome


def after_training(name: str, version: int) -> Outcome | None:
    """The three steps for a version that was trained just now; a failed check does not fail the flow run.

    None if it is an equal one, registered before, that was judged already.

    Raises:
        SentiflowError: a step failed; the message says that the version is registered.
    """
    try:
        return None if judged_already(load_settings(), name, version) else steps(name, version)
    except SentiflowError as err:
        message = f"{name} version {version} is registered, but could not be promoted: {err.args[0]}"
        raise type(err)(message, err.hint) from err


def steps(name: str, version: int | None, *, force: bool = False, reason: str = "") -> Outcome:
    """The three steps, within the caller's flow run."""
    evaluation = evaluate_candidate(name, version, force=force)
    return switch(evaluation, decide(evaluation, force=force, reason=reason))
