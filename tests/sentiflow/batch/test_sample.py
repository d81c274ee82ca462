"""Tests of the sample of a scored input that monitoring gets."""

import numpy as np
import pyarrow as pa
import pytest

from sentiflow.batch.job import Sample
from sentiflow.data.rows import Chunk


def chunks(n: int, size: int, length: int = 5) -> list[Chunk]:
    """Rows 0 to n, each a text that tells its number."""
    rows = list(range(n))
    return [
        Chunk(part, [0] * len(part), [f"{row:0{length}d}" for row in part], pa.table({}), [], 0)
        for part in (rows[i : i + size] for i in range(0, n, size))
    ]


def sampled(most: int, n: int, size: int, room: int = 10**9) -> list[tuple[int, str, float]]:
    sample = Sample(most)
    for chunk in chunks(n, size):
        sample.add(chunk, np.array(chunk.rows) / n)
    return sample.rows(room)


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


@pytest.mark.parametrize("room", [0, 2_000, 20_000])
def test_it_takes_no_more_bytes_than_there_is_room_for(room: int) -> None:
    rows = sampled(500, 10_000, 2_048, room)
    assert len(rows) == room // 105  # texts of 5 letters, and 100 bytes beside each
    assert set(rows) <= set(sampled(500, 10_000, 2_048))


def test_a_text_of_a_sixteenth_of_the_room_is_taken_and_one_of_a_byte_more_is_not() -> None:
    sample = Sample()
    texts = ["x" * 25, "x" * 26, "é" * 13]  # and 100 bytes beside each, of 2,000 / 16 = 125
    sample.add(Chunk([1, 2, 3], [0] * 3, texts, pa.table({}), [], 0), np.full(3, 0.5))
    assert sample.rows(2_000) == [(1, "x" * 25, 0.5)]
