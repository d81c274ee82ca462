"""Tasks: make a version the champion."""

import logging
from dataclasses import replace
from functools import partial
from typing import Literal
from uuid import UUID

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Running
from pydantic import Field

from sentiflow.console import AT_THE_END
from sentiflow.notifications import announce
from sentiflow.operations.flow_runs import close_waiting, waiting
from sentiflow.operations.prefect_server import flow_run_url
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import Candidate
from sentiflow.promotion.history import asks
from sentiflow.redaction import escape_markdown
from sentiflow.settings import Settings, load_settings

logger = logging.getLogger(f"sentiflow.{__name__}")

_POLL = 2  # seconds between two checks for the answer
_EFFECT = """**Choose a decision below the checks.** The button then carries it out:

- *promote*: version {version} becomes the champion, which answers `predict`, `score` and `serve`.
- *do not promote*: what is in use stays. Only `--force --reason` overrides your no.
"""


class Approval(RunInput):
    """A person's answer."""

    decision: Literal["promote", "do not promote"] = Field(
        description="Put this version in use, or decline it: the button below does so at once"
    )
    reason: str = Field("", max_length=500, description="Why, or why not; kept in the history")
    name: str = Field("", max_length=100, description="Who you are; kept in the history")


@task(name="promote", task_run_name="promote", persist_result=False)
def promote(
    name: str, version: int | None, *, force: bool = False, reason: str = "", unattended: bool = False
) -> Candidate:
    """Judge a version, decide, and carry that out; where approval is required, a person decides last."""
    settings = load_settings()
    review = partial(_review, settings)
    return switch.promote(
        name, version, settings, force=force, reason=reason, review=review, logger=logger, unattended=unattended
    )


def _review(settings: Settings, candidate: Candidate) -> Candidate:
    """Show the decision, and let a person answer where approval is required."""
    decision = candidate.decision
    asked = candidate.promotes and asks(candidate.name, settings)
    extra = {} if asked else AT_THE_END
    for line in (candidate.title, *(rule.line for rule in decision.rules), *decision.notes):
        logger.info("%s", line, extra=extra)
    about = f"{candidate.name} version {candidate.version}"
    create_markdown_artifact(candidate.markdown(), key="promotion", description=about)
    if asked:
        candidate = replace(_ask(candidate, settings), asked=True)
    logger.info("%s by %s: %s", candidate.answer, candidate.by, candidate.reason, extra=extra)
    return candidate


def _ask(candidate: Candidate, settings: Settings) -> Candidate:
    """Pause this flow run until a person answers in the Prefect UI; others ask for approval from now on, too."""
    if settings.promotion_approval:
        switch.require_approval(candidate.name, settings)
    url = flow_run_url(str(runtime.flow_run.id))
    about = f"{candidate.name} version {candidate.version}"
    text = f"{about} waits for a person's answer: Resume, in the menu of three dots, opens the form: {url}"
    logger.info("%s", text)
    fields = {"model": candidate.name, "model_version": str(candidate.version), "flow_run_url": url}
    announce(settings, logger, "approval", text, **fields)
    asked = escape_markdown(f"Asked for by {candidate.by}: {candidate.reason}.")
    effect = _EFFECT.format(version=candidate.version)
    question = Approval.with_initial_data(description=f"{asked}\n\n{effect}\n{candidate.markdown()}")
    with get_client(sync_client=True) as client:
        close_waiting(client, settings, logger)
        with waiting(candidate.name, candidate.version, settings):
            try:
                answer = pause_flow_run(question, timeout=settings.approval_timeout, poll_interval=_POLL)
            except FlowPauseTimeout:  # else Prefect says of whatever state follows: never resumed
                client.set_flow_run_state(UUID(str(runtime.flow_run.id)), Running(), force=True)
                reason = f"nobody answered within {settings.approval_timeout} s."
                return replace(candidate, answer="unanswered", reason=reason, by="nobody")
    promote = answer.decision == "promote"
    return candidate.answered(promote=promote, why=answer.reason.strip(), name=answer.name.strip())
