"""Tests of the sample of a scored input that monitoring gets."""

import numpy as np
import pyarrow as pa

from sentiflow.batch.job import Sample
from sentiflow.data.rows import Chunk


def chunks(n: int, size: int, length: int = 5) -> list[Chunk]:
    """Rows 0 to n, each a text that tells its number."""
    rows = list(range(n))
    return [
        Chunk(part, [0] * len(part), [f"{row:0{length}d}" for row in part], pa.table({}), [], 0)
        for part in (rows[i : i + size] for i in range(0, n, size))
    ]


def sampled(most: int, n: int, size: int) -> list[tuple[int, str, float]]:
    sample = Sample(most)
    for chunk in chunks(n, size):
        sample.add(chunk, np.array(chunk.rows) / n)
    return sample.rows()


def test_an_input_that_is_small_is_taken_whole() -> None:
    assert sampled(100, 50, 20) == [(k, f"{k:05d}", k / 50) for k in range(50)]


def test_a_large_one_gives_so_many_rows_as_likely_from_its_end_as_from_its_beginning() -> None:
    rows = [row for row, _text, _score in sampled(2_000, 50_000, 2_048)]
    assert len(rows) == len(set(rows)) == 2_000
    counts, _ = np.histogram(rows, 10, (0, 50_000))
    assert counts.min() > 150 and counts.max() < 250  # 200 expected, 13 the standard deviation


def test_how_the_work_is_cut_makes_no_difference() -> None:
    assert sampled(200, 5_000, 7) == sampled(200, 5_000, 2_048) == sampled(200, 5_000, 5_000)
    for most in range(1, 20):
        assert sampled(most, 300, 1) == sampled(most, 300, 300)
