"""A drift check: the recent texts, their features, and the outcome."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiflow.monitoring import drift
from sentiflow.monitoring.drift import Floats, UnusualText
from sentiflow.monitoring.report import DriftResult
from sentiflow.monitoring.text_log import TextLog
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings

_BATCH = 2_048  # texts in memory at a time
_UNUSUAL, _CHARACTERS = 6, 600  # texts shown in the report, and characters of each
_SCHEMA = pa.schema([("text", pa.string())])


@dataclass(frozen=True)
class DriftCheck:
    """A drift check that has begun.

    Attributes:
        dataset: its name.
        model: registered name.
        settings: of this process.
        log: of the texts.
        lock: tag of its MLflow run: the lock that is held meanwhile.
        work: folder for files that tasks pass on; deleted at the end.
    """

    dataset: str
    model: str
    settings: Settings
    log: TextLog
    lock: str
    work: Path


@dataclass(frozen=True)
class RecentTexts:
    """The texts since the last check.

    Attributes:
        file: a Parquet table, each text once.
        distinct: number of different texts.
        repeated: how many more were equal to one of them.
        first: when the first one was scored, UTC; empty without texts.
        last: likewise.
        sources: number of texts by source.
        last_id: of the last text in the log; 0 without texts.
        key: identifies the first text: a check that is repeated has the same.
    """

    file: Path
    distinct: int
    repeated: int
    first: str
    last: str
    sources: dict[str, int]
    last_id: int
    key: str


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of a drift check.

    Attributes:
        model: registered name.
        texts: number of different new texts.
        summary: the outcome in a sentence or two.
        result: the comparison; None with too few texts for one.
        run_url: of the report in MLflow; empty without one.
    """

    model: str
    texts: int
    summary: str
    result: DriftResult | None = None
    run_url: str = ""

    @property
    def drifted(self) -> tuple[str, ...]:
        """Labels of the features that drifted."""
        return self.result.drifted if self.result else ()


def too_few(check: DriftCheck, texts: RecentTexts) -> CheckOutcome:
    """The outcome of a check without enough texts, which are left to the next one."""
    minimum = check.settings.monitor_min_texts
    summary = f"Only {texts.distinct:,} new texts (minimum {minimum:,}); they are left to the next check."
    return CheckOutcome(check.model, texts.distinct, summary)


def collect_texts(log: TextLog, model: str, file: Path) -> RecentTexts:
    """Write the texts since the last check to a Parquet table, each once: a repeated probe is no drift."""
    sources: Counter[str] = Counter()
    seen: set[int] = set()
    times: list[str] = []
    key, last_id = "", 0
    with pq.ParquetWriter(file, _SCHEMA) as table:
        for batch in log.unchecked(model):
            new = {hash(entry.text): entry.text for entry in batch if hash(entry.text) not in seen}
            seen |= new.keys()
            table.write_table(pa.table([list(new.values())], schema=_SCHEMA))
            sources.update(entry.source for entry in batch)
            at = [entry.at for entry in batch]
            times += [min(at), max(at)]
            key, last_id = key or f"{batch[0].id} {batch[0].at}", batch[-1].id
    first, last = min(times, default=""), max(times, default="")
    return RecentTexts(
        file, len(seen), sources.total() - len(seen), first, last, dict(sources), last_id, key
    )  # fmt: skip


def measure(
    file: Path, scorer: TextScorer, reference: dict[str, Floats]
) -> tuple[dict[str, Floats], list[UnusualText]]:
    """Features of all texts in a table, shape (n,) each, and the most unusual texts."""
    parts: list[dict[str, Floats]] = []
    unusual: list[UnusualText] = []
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(_BATCH):
            texts = batch["text"].to_pylist()
            parts.append(drift.features_of_texts(texts, scorer))
            unusual += drift.most_unusual(texts, parts[-1], reference, _UNUSUAL, _CHARACTERS)
            unusual = sorted(unusual, key=lambda text: -text.surprise)[:_UNUSUAL]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, unusual
