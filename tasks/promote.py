"""The steps of a promotion, as Prefect tasks."""

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from sentiflow.errors import UsageError
from sentiflow.orchestration.server import lasting_api_url
from sentiflow.settings import Settings, load_settings
from sentiflow.tracking import candidate, promotion
from sentiflow.tracking.candidate import Weighed
from sentiflow.tracking.promotion import NO_REASON, Outcome, Verdict
from tasks.runs import flow_run_tags

_POLL = 2  # seconds between two looks for the answer


class Approval(RunInput):
    """What a person answers."""

    promote: bool = Field(False, description="Put this version in use")
    reason: str = Field("", description="Why, or why not; kept in the history")
    name: str = Field("", description="Who you are; kept in the history")


@task(name="weigh", task_run_name="weigh", persist_result=False)
def weigh(name: str, version: int | None) -> Weighed:
    """Hold a version against the champion and the limits.

    Written: the comparison as a markdown artifact in Prefect.
    """
    logger = get_run_logger()
    weighed = candidate.weigh(name, version, load_settings(), logger)
    for rule in weighed.decision.rules:
        logger.info("%s: %s", "yes" if rule.passed else "NO", rule.told)
    create_markdown_artifact(markdown(weighed), key="promotion", description=f"{name} version {weighed.version}")
    return weighed


@task(name="decide", task_run_name="decide", persist_result=False)
def decide(weighed: Weighed, *, force: bool = False, reason: str = "") -> Verdict:
    """Let the gate's outcome stand, or a person's force; where the settings say so, a person has the last word."""
    settings = load_settings()
    verdict = promotion.decide(weighed, force=force, reason=reason)
    if settings.promotion_approval and verdict.promotes:
        verdict = _ask(weighed, verdict, settings)
    get_run_logger().info("%s by %s: %s", verdict.answer, verdict.by, verdict.reason)
    return verdict


@task(name="switch", task_run_name="switch", persist_result=False)
def switch(weighed: Weighed, verdict: Verdict) -> Outcome:
    """Carry the verdict out.

    Written: the outcome on the version; of a promotion also its event in the model's history, and the alias last.
    """
    return promotion.carry_out(weighed, verdict, load_settings())


def need_server(settings: Settings) -> None:
    """Refuse to wait for a person whom nobody could show the question.

    Raises:
        UsageError: an approval is asked for, and Prefect's server is a temporary one.
    """
    if settings.promotion_approval and lasting_api_url() is None:
        raise UsageError(
            "SENTIFLOW_PROMOTION_APPROVAL asks for a person's answer, and no Prefect server is running to ask in.",
            "Start one (prefect server start) and set PREFECT_API_URL=http://127.0.0.1:4200/api",
        )


def _ask(weighed: Weighed, verdict: Verdict, settings: Settings) -> Verdict:
    """Pause this flow run until a person answers in the Prefect UI."""
    need_server(settings)
    where = flow_run_tags()["prefect.flow_run_url"]
    get_run_logger().info("waiting for a person's answer: %s", where)
    asked = f"Asked for by {verdict.by}: {verdict.reason}.\n\n{markdown(weighed)}"
    question = Approval.with_initial_data(description=asked)
    try:
        answer = pause_flow_run(wait_for_input=question, timeout=settings.approval_timeout, poll_interval=_POLL)
    except FlowPauseTimeout:
        return Verdict("declined", f"nobody answered within {settings.approval_timeout} s.", "Nobody")
    return _answered(verdict, answer)


def _answered(verdict: Verdict, answer: Approval) -> Verdict:
    """What came of the answer; whoever asked, and why, stays on record beside whoever answered."""
    who = answer.name.strip() or "a person in the Prefect UI"
    why = answer.reason.strip()
    if not answer.promote:
        silent = "no reason given" if answer.name.strip() else "resumed without a yes"
        return Verdict("declined", why or silent, who)
    asked = [] if verdict.reason == NO_REASON else [verdict.reason]
    reason = "; ".join([*asked, *filter(None, [why])]) or NO_REASON
    return Verdict("forced" if verdict.answer == "forced" else "approved", reason, f"{who}, asked by {verdict.by}")


def markdown(weighed: Weighed) -> str:
    """The comparison for a person to decide by."""
    decision = weighed.decision
    against = "no champion yet" if weighed.champion is None else f"the champion, version {weighed.champion}"
    rules = "".join(
        f"- {'yes' if rule.passed else '**no**'}, *{rule.name}*: {rule.told}\n" for rule in decision.rules
    )
    notes = "".join(f"- not judged: {note}\n" for note in decision.notes)
    return f"""**{weighed.name} version {weighed.version}** against {against}: the gate says \
{"yes" if decision.passed else "**no**"}.

{rules}{notes}"""
