"""``sentiflow score``."""

from collections.abc import Sequence
from pathlib import Path

from sentiflow.batch.job import Request, Scored, score_input
from sentiflow.console import CONSOLE, Console, escape, progress_bar
from sentiflow.settings import load_settings


def run(
    source: Path,
    output: Path,
    column: str,
    keep: Sequence[str],
    version: int | None,
    dataset: str | None,
    workers: int | None,
    *,
    restart: bool,
) -> None:
    """Score an input; print counts, speed, which version scored, and where the results are."""
    request = Request(
        source.expanduser(), output.expanduser(), column, tuple(keep), dataset, version, workers, restart
    )
    try:
        scored = score_input(request, load_settings(), progress_bar, _say)
    except (KeyboardInterrupt, SystemExit):
        _say("Started again with the same command, it goes on where it was.")
        raise
    console = Console()
    for line in _told(scored):
        console.print(line, soft_wrap=True)


def _say(line: str) -> None:
    CONSOLE.print(escape(line), soft_wrap=True)


def _told(scored: Scored) -> list[str]:
    totals, version = scored.totals, scored.version
    rejected = totals.rows - totals.scored
    earlier = totals.rows - scored.rows
    lines = [
        f"[bold]{totals.scored:,} scored, {rejected:,} rejected, {totals.rows:,} rows in all[/]",
        f"{scored.rows / scored.seconds:,.0f} reviews a second: {scored.rows:,} in {scored.seconds:.1f} s"
        + (f"; {earlier:,} were done before" if earlier else ""),
        f"Scored by {version.name} version {version.number} ({version.why})",
        f"Scores:  {escape(str(scored.output))}",
    ]
    if totals.rejects:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in totals.reasons.items())
        lines.append(f"Rejects: {escape(str(totals.rejects))} ({escape(reasons)})")
    return lines
