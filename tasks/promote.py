"""The steps of a promotion, as Prefect tasks."""

from uuid import UUID

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Running
from pydantic import Field

from sentiflow.errors import UsageError
from sentiflow.notifications import announce
from sentiflow.orchestration.server import flow_run_url, lasting_api_url, use_running
from sentiflow.promotion import candidate
from sentiflow.promotion import switch as promotion
from sentiflow.promotion.candidate import CandidateEvaluation
from sentiflow.promotion.choice import NOBODY
from sentiflow.promotion.switch import NO_REASON, Outcome, Verdict
from sentiflow.reports.page import escape_markdown
from sentiflow.settings import Settings, load_settings

_POLL = 2  # seconds between two checks for the answer


class Approval(RunInput):
    """A person's answer."""

    promote: bool = Field(False, description="Put this version in use")
    reason: str = Field("", max_length=500, description="Why, or why not; kept in the history")
    name: str = Field("", max_length=100, description="Who you are; kept in the history")


@task(name="gate", task_run_name="gate", persist_result=False)
def evaluate_candidate(name: str, version: int | None, *, force: bool = False) -> CandidateEvaluation:
    """Compare a version with the champion and the limits.

    Written: the comparison as a markdown artifact in Prefect.
    """
    logger = get_run_logger()
    evaluation = candidate.evaluate_candidate(name, version, load_settings(), logger, force=force)
    logger.info("%s", evaluation.title)
    for rule in evaluation.decision.rules:
        logger.info("%s, %s: %s", "yes" if rule.passed else "NO", rule.name, rule.text)
    for note in evaluation.decision.notes:
        logger.info("%s", note)
    if evaluation.warning:
        logger.warning(evaluation.warning)
    about = f"{name} version {evaluation.version}"
    create_markdown_artifact(markdown(evaluation), key="promotion", description=about)
    return evaluation


@task(name="decide", task_run_name="decide", persist_result=False)
def decide(evaluation: CandidateEvaluation, *, force: bool = False, reason: str = "") -> Verdict:
    """The gate's decision, unless overridden by force; with approval in the settings, a person decides last."""
    settings = load_settings()
    verdict = promotion.decide(evaluation, force=force, reason=reason)
    if settings.promotion_approval and verdict.promotes:
        verdict = _ask(evaluation, verdict, settings)
    get_run_logger().info("%s by %s: %s", verdict.answer, verdict.by, verdict.reason)
    return verdict


@task(name="switch", task_run_name="switch", persist_result=False)
def switch(evaluation: CandidateEvaluation, verdict: Verdict) -> Outcome:
    """Carry out the verdict.

    Written: the verdict on the version; of a promotion also its event in the model's history, and the alias last.
    """
    return promotion.carry_out(evaluation, verdict, load_settings())


def need_server(settings: Settings) -> None:
    """Check that a person can be asked: on the server that is set, or that of a running `sentiflow schedule`.

    Raises:
        UsageError: the settings require an approval, and Prefect's server is a temporary one.
    """
    if settings.promotion_approval and not (use_running(settings) and lasting_api_url()):
        raise UsageError(
            "SENTIFLOW_PROMOTION_APPROVAL needs a person's answer, but no Prefect server is running to ask in.",
            "Start `sentiflow schedule`, or set PREFECT_API_URL to the server to use.",
        )


def _ask(evaluation: CandidateEvaluation, verdict: Verdict, settings: Settings) -> Verdict:
    """Pause this flow run until a person answers in the Prefect UI."""
    need_server(settings)
    url = flow_run_url(str(runtime.flow_run.id))
    get_run_logger().info("waiting for a person's answer: %s", url)
    text = f"{evaluation.name} version {evaluation.version} waits for an answer: promote it, or not? {url}"
    fields = {"model": evaluation.name, "version": str(evaluation.version), "flow_run_url": url}
    announce(settings, get_run_logger(), "approval", text, **fields)
    asked = escape_markdown(f"Asked for by {verdict.by}: {verdict.reason}.")
    description = f"{asked}\n\n{markdown(evaluation)}"
    question = Approval.with_initial_data(description=description)
    try:
        answer = pause_flow_run(wait_for_input=question, timeout=settings.approval_timeout, poll_interval=_POLL)
    except FlowPauseTimeout:
        with get_client(sync_client=True) as client:  # else Prefect says of whatever state follows: never resumed
            client.set_flow_run_state(UUID(str(runtime.flow_run.id)), Running(), force=True)
        return Verdict("declined", f"nobody answered within {settings.approval_timeout} s.", NOBODY)
    return _answered(verdict, answer)


def _answered(verdict: Verdict, answer: Approval) -> Verdict:
    """The verdict after the answer; it names who asked and who answered, with both reasons."""
    named = answer.name.strip()
    who = named if named and named != NOBODY else "a person in the Prefect UI"
    why = answer.reason.strip()
    if not answer.promote:
        default = "no reason given" if answer.name.strip() else "resumed without a yes"
        return Verdict("declined", why or default, who)
    given = "" if verdict.reason == NO_REASON else verdict.reason
    reason = "; ".join(filter(None, [given, why])) or NO_REASON
    return Verdict("forced" if verdict.answer == "forced" else "approved", reason, f"{who}, asked by {verdict.by}")


def markdown(evaluation: CandidateEvaluation) -> str:
    """The evaluation as Markdown."""
    decision = evaluation.decision
    rules = "".join(
        f"- {'yes' if rule.passed else '**no**'}, *{rule.name}*: {escape_markdown(rule.text)}\n"
        for rule in decision.rules
    )
    notes = "".join(f"- {escape_markdown(note)}\n" for note in (*decision.notes, evaluation.warning) if note)
    return f"""**{escape_markdown(evaluation.title)}**; \
{"all checks passed" if decision.passed else f"**{escape_markdown(decision.refusal)}**"}

{rules}{notes}"""
