"""Scoring of a table or a folder with a registered version."""

from pathlib import Path
from typing import Annotated

from prefect.runtime import flow_run
from pydantic import Field

from sentiflow.batch.job import Request, Scored
from sentiflow.orchestration.flow_runs import job
from tasks.score import score as score_input

# What each is for stands in the flow's docstring: Prefect's form shows that, and not a field's description.
Column = Annotated[str, Field(min_length=1)]
Number = Annotated[int | None, Field(ge=1)]
Workers = Annotated[int | None, Field(ge=1, le=64)]


def _run_name() -> str:
    given = flow_run.parameters
    return f"{Path(given['source']).name}-{flow_run.scheduled_start_time:%y%m%d-%H%M%S}"


@job(name="score", flow_run_name=_run_name)
def score(
    source: Path,
    output: Path,
    text_column: Column = "text",
    with_text: bool = False,
    keep: list[str] = [],  # noqa: B006 - Prefect's form shows it, and nothing changes it
    dataset: str | None = None,
    version: Number = None,
    workers: Workers = None,
    restart: bool = False,
) -> Scored:
    """Score every row of an input into a CSV, JSON Lines or Parquet file.

    1. score: read, score and keep in chunks; what cannot be scored goes to a file of rejects

    Args:
        source: A .csv, .jsonl or .parquet table, or a folder of .txt files.
        output: The file to write, .csv, .jsonl or .parquet; rejects go to a file beside it.
        text_column: The table's column of texts.
        with_text: Copy the texts to the output.
        keep: Columns of the table to copy to the output.
        dataset: Whose model: imdb, sample, or your table's name; the only one if there is one.
        version: A version; without it the champion, else the newest.
        workers: Processes that score; by default one a core.
        restart: Start over instead of resuming a killed run.
    """
    request = Request(source, output, text_column, with_text, tuple(keep), dataset, version, workers, restart)
    return score_input(request)
