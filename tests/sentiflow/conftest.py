"""What several tests of the library share."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.batch.job import Workers, score_chunks
from sentiflow.batch.writers import Totals, output_schema, to_table, write_output
from sentiflow.data.inputs import open_input
from sentiflow.data.rows import Chunk
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.settings import Settings
from sentiflow.store.records import Version


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data folder is the test's own and which name no mirror."""
    return Settings(data_dir=tmp_path / "data", download_retries=0, download_timeout=5)


@dataclass(frozen=True)
class Done:
    """What a job left: rows as dictionaries, in the order of the files."""

    scored: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    totals: Totals
    advanced: int


@pytest.fixture(scope="session")
def scorer() -> TextScorer:
    """Random weights that know four words."""
    rng = np.random.default_rng(5)
    shapes = (8, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    weights = Weights(*(rng.normal(0, 0.8, shape).astype(np.float32) for shape in shapes))
    return TextScorer(weights, Vocabulary(("good", "bad", "film", "plot", "rare")), sequence_length=6)


@pytest.fixture
def job(scorer: TextScorer) -> Callable[..., Done]:
    """Score an input from beginning to end."""

    def run(path: Path, column: str = "text", keep: tuple[str, ...] = (), workers: int | None = None) -> Done:
        source = open_input(path)
        source.select(column, keep)
        steps: list[int] = []
        pool = Workers(scorer, workers) if workers and workers > 1 else None
        schema = output_schema(source, with_text=False)
        version, output = Version("m", 3, ""), path.parent / "out.parquet"

        def tables() -> Iterator[tuple[Chunk, pa.Table]]:
            for chunk, scores in score_chunks(source.chunks(), scorer, pool):
                yield chunk, to_table(chunk, scores, [*map(scorer.label_of, scores)], version, schema)
                steps.append(chunk.units)

        totals = write_output(tables(), output, schema, -1.0)
        lines = totals.rejects.read_text(encoding="utf-8").splitlines() if totals.rejects else []
        assert sum(steps) == source.total  # a bar ends where its total is
        scored = pq.read_table(output).to_pylist()
        return Done(scored, [json.loads(line) for line in lines], totals, sum(steps))

    return run
