from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sentiflow.batch.job import Workers, score_chunks
from sentiflow.data.inputs import open_input
from sentiflow.data.rows import Chunk
from sentiflow.scoring import TextScorer

ROWS = 5_000  # three chunks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Rows of which every tenth is missing."""
    made = tmp_path / "in.csv"
    made.write_text("id,text\n" + "".join(f"{k},{text(k)}\n" for k in range(ROWS)))
    return made


def text(row: int) -> str:
    return "" if row % 10 == 0 else f"good bad {'film ' * (row % 7)}{'plot' if row % 2 else ''}"


@pytest.mark.parametrize("workers", [1, 3])
def test_every_row_is_scored_or_rejected_in_order_whoever_scores(
    path: Path, job: Callable, scorer: TextScorer, workers: int
) -> None:
    done = job(path, workers=workers)
    assert [row["row"] for row in done.scored] == [row + 1 for row in range(ROWS) if row % 10]
    assert [row["row"] for row in done.rejects] == list(range(1, ROWS, 10))
    assert (done.totals.rows, done.totals.scored) == (ROWS, ROWS * 9 // 10)
    expected = scorer.score([text(row) for row in range(ROWS) if row % 10])
    np.testing.assert_allclose([row["score"] for row in done.scored], expected, rtol=0, atol=1e-14)
    assert {row["label"] for row in done.scored if row["score"] > 0.5} == {"positive"}
    assert {row["label"] for row in done.scored if row["score"] <= 0.5} == {"negative"}


def test_no_more_chunks_are_read_ahead_than_the_workers_need(path: Path, scorer: TextScorer) -> None:
    """Two for each worker, however long the table is: memory must not grow with it."""
    path.write_text("text\n" + "good\n" * 2_048 * 9)
    source = open_input(path)
    source.select("text")
    read, ahead = 0, []

    def chunks() -> Iterator[Chunk]:
        nonlocal read
        for chunk in source.chunks():
            read += 1
            yield chunk

    for _ in score_chunks(chunks(), scorer, Workers(scorer, 2)):
        ahead.append(read - len(ahead))
    assert ahead == [4, 4, 4, 4, 4, 4, 3, 2, 1]
