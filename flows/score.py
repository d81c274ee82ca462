"""Scoring of a table or a folder with a registered version."""

import logging
from pathlib import Path
from typing import Annotated

from prefect import task
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from sentiflow.batch.job import Request, Scored, score_input
from sentiflow.console import progress_bar
from sentiflow.data.table import Label, as_options
from sentiflow.environment import expanded
from sentiflow.operations.job import job
from sentiflow.redaction import escape_markdown
from sentiflow.settings import load_settings

logger = logging.getLogger(f"sentiflow.{__name__}")


@job(lambda given, due: f"{Path(given['source']).name}-{due}")
def score(
    source: Path,
    output: Path,
    text_column: Annotated[str, Field(min_length=1)] = "text",
    with_text: bool = False,
    keep: list[str] = [],  # noqa: B006 - Prefect's form shows it, and nothing changes it
    dataset: str | None = None,
    version: Annotated[int | None, Field(ge=1)] = None,
    workers: Annotated[int | None, Field(ge=1, le=64)] = None,
    label_column: str | None = None,
    labels: dict[str, Label] = {},  # noqa: B006
    sheet: str = "",
    with_neutral: bool = False,
) -> Scored:
    """Score every row of an input into a CSV, JSON Lines or Parquet file.

    1. score: read, score and keep in chunks; what cannot be scored goes to a file of rejects

    Args:
        source: A table, a folder or archive of tables, or a folder of .txt files.
        output: The file to write, .csv, .jsonl or .parquet; rejects go to a file beside it.
        text_column: The table's column of texts.
        with_text: Copy the texts to the output.
        keep: Columns of the table to copy to the output.
        dataset: The model's dataset: imdb, sample, or your table's name. By default imdb, or the only one.
        version: A version; without it the champion, else the best by validation.
        workers: Processes that score; by default one a core.
        label_column: The table's column of labels, if the scores are to be compared with them.
        labels: What they mean, 0, 1, skip or between, such as {"neutral": "skip"}; alone, of a column label.
        sheet: The sheet of workbooks; by default the first.
        with_neutral: Call unsure texts neutral, by the limits that the version has learnt.
    """
    options = {"labels": labels} | ({"label_column": label_column} if label_column else {})
    labelled = as_options(options, "The options of the table") if label_column or labels else None
    request = Request(
        expanded(source), expanded(output), text_column, with_text, tuple(keep), dataset, version, workers,
        labelled, sheet, with_neutral,
    )  # fmt: skip
    return score_task(request)


@task(name="score", task_run_name="score", persist_result=False)
def score_task(request: Request) -> Scored:
    """Score an input with a registered version."""
    scored = score_input(request, load_settings(), progress_bar)
    for line in scored.lines:
        logger.info("%s", line)
    lines = [*scored.lines, f"Input:   {request.source}"]
    summary = "\n".join(f"- {escape_markdown(line)}" for line in lines)
    create_markdown_artifact(summary, key="scoring-summary", description="How the scoring went")
    return scored
