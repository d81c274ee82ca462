"""Task: make a version the champion."""

import logging
from typing import Literal

from prefect import task
from prefect.artifacts import create_markdown_artifact

from sentiflow.console import AT_THE_END
from sentiflow.operations.deployments import form_url
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import Candidate
from sentiflow.settings import load_settings

logger = logging.getLogger(f"sentiflow.{__name__}")

Decision = Literal["judge", "approve", "decline"]


@task(name="promote", task_run_name="promote", persist_result=False)
def promote(
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
            name, version, settings,
            force=force, reason=reason, logger=logger, unattended=unattended, form=form_url,
        )  # fmt: skip
    else:
        yes = decision == "approve"
        candidate = switch.answer(name, version, settings, promote=yes, reason=reason, by=by, logger=logger)
    judged = candidate.decision
    for line in (candidate.title, *(rule.line for rule in judged.rules), *judged.notes):
        logger.info("%s", line, extra=AT_THE_END)
    about = f"{candidate.name} version {candidate.version}"
    create_markdown_artifact(candidate.markdown(), key="promotion", description=about)
    logger.info("%s by %s: %s", candidate.answer, candidate.by, candidate.reason, extra=AT_THE_END)
    return candidate
