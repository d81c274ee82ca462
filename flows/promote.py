"""From a registered version to the champion."""

import logging
from typing import Annotated, Literal

from prefect import task
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from sentiflow.console import AT_THE_END
from sentiflow.errors import SentiflowError
from sentiflow.names import model_name
from sentiflow.operations.deployments import form_url
from sentiflow.operations.job import by_deployment, job
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import Candidate
from sentiflow.promotion.history import MAX_REASON, check_request, judged_already, nothing_new
from sentiflow.results import Skipped
from sentiflow.settings import load_settings

logger = logging.getLogger(f"sentiflow.{__name__}")

Version = Annotated[int | None, Field(ge=1)]
Reason = Annotated[str, Field(max_length=MAX_REASON)]
Decision = Literal["judge", "approve", "decline"]


@job(lambda given, _due: f"promote-{given['version'] or 'the-best'}-of-{model_name(given['dataset'])}")
def promote(
    dataset: str = "imdb",
    version: Version = None,
    decision: Decision = "judge",
    reason: Reason = "",
    name: Annotated[str, Field(max_length=100)] = "",
    force: bool = False,
) -> Candidate | Skipped:
    """Promote a registered version if all checks pass, or answer about one that waits for a person.

    1. the gate: candidate and champion on the same test reviews, and the cost of the packaged model
    2. the decision: the gate's, unless overridden by force; where approval is required, the version waits
    3. the switch: write it down, then move the alias

    What is not put in use ends as Refused (by the gate), Declined (by a person) or Waits (for one), with the
    reason. A run of the deployment that has nothing new to judge ends as Skipped.

    Args:
        dataset: The model's dataset: imdb, sample, or the name of your table.
        version: Which version; empty for the lowest validation loss of those never in use.
        decision: To judge the version, or to approve or decline one that waits for a person.
        reason: Why; kept in the history.
        name: Who approves or declines; kept in the history.
        force: Promote even if checks fail; needs a reason, and is recorded.
    """
    check_request(reason, force=force)
    settings, model = load_settings(), model_name(dataset)
    if by_deployment() and decision == "judge" and not force and (why := nothing_new(model, version, settings)):
        logger.info(why)
        return Skipped(why)
    return promote_version(model, version, decision, force=force, reason=reason, by=name)


@task(name="promote", task_run_name="promote", persist_result=False)
def promote_version(
    name: str,
    version: int | None,
    decision: Decision = "judge",
    *,
    force: bool = False,
    reason: str = "",
    by: str = "",
    unattended: bool = False,
) -> Candidate:
    """Judge a version and carry that out, or leave it to a person, whose answer another ``decision`` is."""
    settings = load_settings()
    if decision == "judge":
        candidate = switch.promote(
            name, version, settings, force=force, reason=reason, unattended=unattended, form=form_url
        )
    else:
        yes = decision == "approve"
        candidate = switch.answer(name, version, settings, promote=yes, reason=reason, by=by)
    judged = candidate.decision
    for line in (candidate.title, *(rule.line for rule in judged.rules), *judged.notes):
        logger.info("%s", line, extra=AT_THE_END)
    about = f"{candidate.name} version {candidate.version}"
    create_markdown_artifact(candidate.markdown(), key="promotion", description=about)
    logger.info("%s by %s: %s", candidate.answer, candidate.by, candidate.reason, extra=AT_THE_END)
    return candidate


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
