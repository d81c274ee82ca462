"""From a registered version to the champion."""

import logging
from typing import Annotated

from pydantic import Field

from sentiflow.errors import SentiflowError, UsageError
from sentiflow.names import model_name
from sentiflow.operations.flow_runs import by_deployment, job
from sentiflow.operations.prefect_server import lasting_api_url, use_running
from sentiflow.promotion.candidate import Candidate
from sentiflow.promotion.history import MAX_REASON, asks, check_request, judged_already, nothing_new
from sentiflow.results import Skipped
from sentiflow.settings import Settings, load_settings
from tasks.register import promote as promote_version

logger = logging.getLogger(f"sentiflow.{__name__}")

Version = Annotated[int | None, Field(ge=1)]
Reason = Annotated[str, Field(max_length=MAX_REASON)]


@job(lambda given, _due: f"promote-{given['version'] or 'the-best'}-of-{model_name(given['dataset'])}")
def promote(
    dataset: str = "imdb", version: Version = None, force: bool = False, reason: Reason = ""
) -> Candidate | Skipped:
    """Promote a registered version if all checks pass.

    1. the gate: candidate and champion on the same test reviews, and the cost of the packaged model
    2. the decision: the gate's, unless overridden by force; where approval is required, a person's
    3. the switch: write it down, then move the alias

    A no ends the flow run as Refused (by the gate), Declined (by a person) or Unanswered, with the reason. A run
    of the deployment that has nothing new to judge ends as Skipped.

    Args:
        dataset: The model's dataset: imdb, sample, or the name of your table.
        version: Which version; empty for the lowest validation loss of those never in use.
        force: Promote even if checks fail; needs a reason, and is recorded.
        reason: Why; kept in the history.
    """
    check_request(reason, force=force)
    settings, name = load_settings(), model_name(dataset)
    need_server(settings, dataset)
    if by_deployment() and not force and (why := nothing_new(name, version, settings)):
        logger.info(why)
        return Skipped(why)
    return promote_version(name, version, force=force, reason=reason)


def after_training(name: str, version: int) -> Candidate | None:
    """Promote a version that was trained just now; a failed check does not fail the flow run.

    None if it is an equal one, registered before, that was judged already.
    """
    try:
        judged = judged_already(load_settings(), name, version)
        return None if judged else promote_version(name, version, unattended=True)
    except SentiflowError as err:
        message = f"{name} version {version} is registered, but could not be promoted: {err.args[0]}"
        raise type(err)(message, err.hint) from err


def need_server(settings: Settings, dataset: str) -> None:
    """Check that a person can be asked: on the server that is set, or that of a running `sentiflow schedule`."""
    if asks(name := model_name(dataset), settings) and not (use_running(settings) and lasting_api_url()):
        raise UsageError(
            f"A promotion of {name} needs a person's approval, but no Prefect server is running to ask in.",
            "Start `sentiflow schedule`, or set PREFECT_API_URL to the server to use.",
        )
