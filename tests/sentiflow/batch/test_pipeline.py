from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sentiflow.batch.output import Job, Parts, output_schema, to_table
from sentiflow.batch.pipeline import Workers, score_chunks
from sentiflow.data.inputs import open_input
from sentiflow.data.rows import Chunk
from sentiflow.scoring import TextScorer
from sentiflow.tracking.types import Version

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


def test_finished_chunks_are_not_scored_again(path: Path, scorer: TextScorer) -> None:
    source, parts = open_input(path), Parts(path.parent / "out.parquet")
    source.select("text")
    schema = output_schema(source, with_text=False)
    parts.begin(Job(str(path), {}, "text", False, [], "m", 1, ""))
    assert score_chunks(source, Version("m", 1, ""), scorer, parts, None, lambda _step: None, schema) == ROWS
    second = list(source.chunks())[1]
    cut = replace(second, rows=second.rows[:1], lines=second.lines[:1], texts=second.texts[:1])
    parts.add(
        cut, to_table(cut, np.array([0.5]), scorer.label_names, Version("m", 1, ""), schema)
    )  # it is done again
    del parts.rows[2]
    other, steps = Version("other", 1, ""), list[int]()
    assert score_chunks(source, other, scorer, parts, None, steps.append, schema) == ROWS - 2_048
    assert len(steps) == 3 and sum(steps) == source.total  # what is done already advances a bar, too
    parts.finish(schema, -1.0)
    models = pq.read_table(parts.output)["model"].to_pylist()
    scored = 2_048 - len(range(0, 2_048, 10))
    assert models == ["m"] * scored + ["other"] * (ROWS * 9 // 10 - scored)


def test_no_more_chunks_are_read_ahead_than_the_workers_need(path: Path, scorer: TextScorer) -> None:
    """Two for each worker, however long the table is: memory must not grow with it."""
    path.write_text("text\n" + "good\n" * 2_048 * 9)
    source, parts = open_input(path), Parts(path.parent / "out.parquet")
    source.select("text")
    parts.begin(Job(str(path), {}, "text", False, [], "m", 1, ""))
    read, ahead = 0, []

    class Counted:
        def chunks(self) -> Iterator[Chunk]:
            nonlocal read
            for chunk in source.chunks():
                read += 1
                yield chunk

    def done(_step: int) -> None:
        ahead.append(read - len(ahead))

    version, schema = Version("m", 1, ""), output_schema(source, with_text=False)
    pool = Workers(scorer, 2)
    assert score_chunks(Counted(), version, scorer, parts, pool, done, schema) == 2_048 * 9  # type: ignore[arg-type]
    assert ahead == [4, 4, 4, 4, 4, 4, 3, 2, 1]
