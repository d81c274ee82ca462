"""Score a whole input as a step of a flow."""

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from sentiflow.batch.job import Request, Scored, score_input
from sentiflow.console import progress_bar
from sentiflow.settings import load_settings


@task(name="score", task_run_name="score", persist_result=False)
def score(request: Request) -> Scored:
    """Score an input with a registered version, or go on where an earlier run of the same job was killed.

    Written: the output and its rejects; a markdown summary in Prefect.
    """
    logger = get_run_logger()
    scored = score_input(request, load_settings(), progress_bar, logger.info)
    totals = scored.totals
    logger.info(
        "%d rows: %d scored, %d rejected; %.0f a second; by %s version %d",
        *(totals.rows, totals.scored, totals.rows - totals.scored, scored.rows / scored.seconds),
        *(scored.version.name, scored.version.number),
    )
    create_markdown_artifact(_markdown(request, scored), key="scoring-summary", description="How the scoring went")
    return scored


def _markdown(request: Request, scored: Scored) -> str:
    totals, version = scored.totals, scored.version
    reasons = "\n".join(f"| rejected: {reason} | {count:,} |" for reason, count in totals.reasons.items())
    rejects = f"`{totals.rejects}`" if totals.rejects else "none"
    return f"""**{totals.scored:,} of {totals.rows:,} rows scored.**

- input: `{request.source}`
- scores: `{scored.output}`
- rejects: {rejects}
- model: {version.name} version {version.number} ({version.why})
- speed: {scored.rows / scored.seconds:,.0f} reviews a second, {scored.rows:,} in {scored.seconds:.1f} s

| rows | |
|---|---:|
| scored | {totals.scored:,} |
{reasons}
"""
