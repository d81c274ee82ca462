"""A promotion, as a Prefect task, with the question to a person."""

from dataclasses import replace
from functools import partial
from uuid import UUID

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Running
from pydantic import Field

from sentiflow.notifications import announce
from sentiflow.operations.prefect_server import flow_run_url
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import Candidate
from sentiflow.promotion.history import NOBODY
from sentiflow.redaction import escape_markdown
from sentiflow.settings import Settings, load_settings

_POLL = 2  # seconds between two checks for the answer


class Approval(RunInput):
    """A person's answer."""

    promote: bool = Field(False, description="Put this version in use")
    reason: str = Field("", max_length=500, description="Why, or why not; kept in the history")
    name: str = Field("", max_length=100, description="Who you are; kept in the history")


@task(name="promote", task_run_name="promote", persist_result=False)
def promote(name: str, version: int | None, *, force: bool = False, reason: str = "") -> Candidate:
    """Judge a version, decide, and carry that out; with approval in the settings, a person decides last."""
    settings, logger = load_settings(), get_run_logger()
    review = partial(_review, settings)
    return switch.promote(name, version, settings, force=force, reason=reason, review=review, logger=logger)


def _review(settings: Settings, candidate: Candidate) -> Candidate:
    """Show the decision, and let a person answer where the settings ask for it."""
    logger, decision = get_run_logger(), candidate.decision
    logger.info("%s", candidate.title)
    for rule in decision.rules:
        logger.info("%s, %s: %s", "yes" if rule.passed else "NO", rule.name, rule.text)
    for note in decision.notes:
        logger.info("%s", note)
    about = f"{candidate.name} version {candidate.version}"
    create_markdown_artifact(candidate.markdown(), key="promotion", description=about)
    if settings.promotion_approval and candidate.promotes:
        candidate = _ask(candidate, settings)
    logger.info("%s by %s: %s", candidate.answer, candidate.by, candidate.reason)
    return candidate


def _ask(candidate: Candidate, settings: Settings) -> Candidate:
    """Pause this flow run until a person answers in the Prefect UI."""
    url = flow_run_url(str(runtime.flow_run.id))
    get_run_logger().info("waiting for a person's answer: %s", url)
    text = f"{candidate.name} version {candidate.version} waits for an answer: promote it, or not? {url}"
    fields = {"model": candidate.name, "model_version": str(candidate.version), "flow_run_url": url}
    announce(settings, get_run_logger(), "approval", text, **fields)
    asked = escape_markdown(f"Asked for by {candidate.by}: {candidate.reason}.")
    question = Approval.with_initial_data(description=f"{asked}\n\n{candidate.markdown()}")
    try:
        answer = pause_flow_run(wait_for_input=question, timeout=settings.approval_timeout, poll_interval=_POLL)
    except FlowPauseTimeout:
        with get_client(sync_client=True) as client:  # else Prefect says of whatever state follows: never resumed
            client.set_flow_run_state(UUID(str(runtime.flow_run.id)), Running(), force=True)
        reason = f"nobody answered within {settings.approval_timeout} s."
        return replace(candidate, answer="declined", reason=reason, by=NOBODY)
    return candidate.answered(promote=answer.promote, why=answer.reason.strip(), name=answer.name.strip())
