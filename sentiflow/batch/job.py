"""One scoring job, from the settings to the finished output."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from sentiflow.batch.dask import DaskWorkers
from sentiflow.batch.pipeline import Sample, Workers, score_chunks
from sentiflow.batch.writers import Totals, check_output, output_lock, output_schema, to_table, write_output
from sentiflow.console import Progress, no_progress
from sentiflow.data.inputs import open_input
from sentiflow.data.rejects import count_reasons
from sentiflow.data.rows import Chunk, Input, changed
from sentiflow.errors import UsageError
from sentiflow.monitoring.text_log import MEGABYTE, SCORED, Entry, TextLog, configured_log
from sentiflow.names import model_name
from sentiflow.scoring import TextScorer, cores
from sentiflow.settings import Settings
from sentiflow.store.types import BASE_MODEL, Version
from sentiflow.store.versions import find_version, load_scorer

Say = Callable[[str], None]

_SHARE = 8  # of the log that one run may fill: an eighth
_WORTH_WORKERS = 8_000_000  # bytes of text that one process scores while others would only be starting


def _log(sample: Sample, version: Version, settings: Settings, log: TextLog, say: Say) -> None:
    """Write the sampled texts to the log for monitoring; a log that cannot be written fails no scoring."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    rows = sample.rows(int(settings.prediction_log_mb * MEGABYTE) // _SHARE)
    try:
        log.append([Entry(at, SCORED, version.name, version.number, score, text) for _row, text, score in rows])
    except OSError as err:
        say(f"The scored texts are not logged for monitoring: {err}.")


@dataclass(frozen=True)
class Request:
    """What to score, a table or a folder of text files, with what, and where to.

    Attributes:
        output: the file to write; its ending is the format, .csv, .jsonl or .parquet.
        keep: columns to copy.
        dataset: whose model; by default imdb's, or the only one that there is.
        version: its number; by default the champion, else the newest.
        workers: processes that score; by default as many as are worth it.
        escape_formulas: of a .csv output, put ' before texts that a spreadsheet would take for formulas.
    """

    source: Path
    output: Path
    text_column: str = "text"
    with_text: bool = False
    keep: tuple[str, ...] = ()
    dataset: str | None = None
    version: int | None = None
    workers: int | None = None
    escape_formulas: bool = False


@dataclass(frozen=True)
class Scored:
    """What came of it."""

    output: Path
    version: Version
    totals: Totals
    seconds: float

    @property
    def summary(self) -> str:
        """The counts and the file."""
        return f"{self.lines[0]}: {self.output}"

    @property
    def lines(self) -> list[str]:
        """The counts, the speed, the version, the output, and the rejects if there are any."""
        totals, version = self.totals, self.version
        rejected, speed = totals.rows - totals.scored, totals.rows / self.seconds
        lines = [
            f"{totals.scored:,} scored, {rejected:,} rejected, {totals.rows:,} rows in all{totals.note}",
            f"{speed:,.0f} reviews a second: {totals.rows:,} in {self.seconds:.1f} s",
            f"Scored by {version} ({version.why})",
            f"Scores:  {self.output}",
        ]
        if totals.rejects:
            lines.append(f"Rejects: {totals.rejects} ({count_reasons(totals.reasons)})")
        return lines


def check_request(request: Request) -> tuple[Input, pa.Schema]:
    """The input with its columns chosen, and the columns of the output."""
    source = open_input(request.source)
    source.select(request.text_column, request.keep)
    check_output(request.output.resolve(), request.source, escape_formulas=request.escape_formulas)
    return source, output_schema(source, request.with_text)


def score_input(
    request: Request, settings: Settings, progress: Progress = no_progress, say: Say = lambda _line: None
) -> Scored:
    """Score an input.

    Written: the output, and its rejects beside it if there are any; each by one rename, at the end. A sample of
    the texts goes to the text log, if there is one. ``say`` gets a sentence if that cannot be written.

    Raises:
        UsageError: the input holds no rows.
        ExternalError: it changed meanwhile.
    """
    began = time.monotonic()
    output = request.output.resolve()  # a link stays one, and what it leads to is written
    source, schema = check_request(request)
    with output_lock(output):
        name = None if request.dataset is None else model_name(request.dataset)
        version = find_version(settings, name, request.version)
        scorer = load_scorer(settings, version)
        log = configured_log(settings) if version != BASE_MODEL else None  # nothing is checked for drift from it
        sample, before = Sample(), source.state()
        pool = _pool(source, scorer, request.workers, settings)

        def tables() -> Generator[tuple[Chunk, pa.Table]]:
            chunk = None
            with progress("Scoring", source.total) as advance, closing(chunks):
                for chunk, scores in chunks:
                    yield chunk, to_table(chunk, scores, scorer.label_names, version, schema)
                    if log is not None:
                        sample.add(chunk, scores)
                    advance(chunk.units)
            if chunk is None:
                raise UsageError(f"{source.path} holds no rows.", "There is nothing to score.")
            if source.state() != before:
                raise changed(source.path)

        blank = float(scorer.score([""])[0])
        chunks = score_chunks(source.chunks(), scorer, pool)
        with closing(tables()) as scored:
            totals = write_output(scored, output, schema, blank, escape_formulas=request.escape_formulas)
        if log is not None:
            _log(sample, version, settings, log, say)
    return Scored(output, version, totals, time.monotonic() - began)


def _pool(
    source: Input, scorer: TextScorer, wanted: int | None, settings: Settings
) -> Workers | DaskWorkers | None:
    """The cluster of the settings, else processes of this machine; None where starting them takes longer."""
    if settings.task_runner == "dask":
        return DaskWorkers(settings, scorer, wanted)
    number = wanted or (cores() if source.size >= _WORTH_WORKERS else 1)
    return Workers(scorer, number) if number > 1 else None
