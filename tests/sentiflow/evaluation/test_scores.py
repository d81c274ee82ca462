"""Tests of reading the test scores of a run, which may be any file."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.evaluation.scores import read_scores

NAMES = ("review_id", "label", "score", "n_tokens")


def table(rows: int = 20, **other: Any) -> pa.Table:
    ids = pa.array([f"{k:021x}" for k in range(rows)])
    numbers = {"label": pa.array(np.arange(rows) % 2, pa.int8()), "score": np.linspace(0, 1, rows)}
    return pa.table({"review_id": ids, **numbers, "n_tokens": pa.array(np.arange(rows), pa.int32()), **other})


def repeated(text: str, rows: int = 20) -> pa.Array:
    """The same text in each row, which a file stores once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def test_the_columns_that_are_there_are_read_and_others_left(tmp_path: Path) -> None:
    file = tmp_path / "scores.parquet"
    pq.write_table(table(note=repeated("a" * 100)), file, row_group_size=7)
    found = read_scores(file, [*NAMES, "baseline"])
    assert found.column_names == [*NAMES]
    assert found["review_id"].to_pylist() == [f"{k:021x}" for k in range(20)]
    assert found["n_tokens"].to_pylist() == [*range(20)]


@pytest.mark.parametrize(
    ("content", "how", "told"),
    [
        (table(9_000, review_id=repeated("a", 9_000), score=np.zeros(9_000), label=np.zeros(9_000, np.int8),
               n_tokens=np.zeros(9_000, np.int8)), {}, "stand for 9,000 rows"),
        (table(), {"compression": "zstd"}, "packed by ZSTD"),
        (table(), {"use_dictionary": False, "column_encoding": {"review_id": "DELTA_BYTE_ARRAY"}}, "DELTA_BYTE"),
        (table(review_id=repeated("a" * 65)), {}, "ids of more than 64 bytes"),
        (table(review_id=pa.array(range(20))), {}, "review_id holds int64"),
        (table(label=repeated("a" * 100)), {}, "label holds dictionary"),
        (table(score=pa.array([[0.5] * 2] * 20)), {}, "score holds list"),
        (table(**{"label.more": pa.array([[1] * 2] * 20)}), {}, "label.more holds list"),
    ],
    ids=["rows", "zstd", "beginnings", "long id", "numbers", "texts", "lists", "another by its name"],
)  # fmt: skip
def test_a_file_that_no_training_wrote_is_refused(
    tmp_path: Path, content: pa.Table, how: dict[str, Any], told: str
) -> None:
    pq.write_table(content, tmp_path / "scores.parquet", **how)
    with pytest.raises(ValueError, match=told):
        read_scores(tmp_path / "scores.parquet", NAMES)


@pytest.mark.parametrize("compression", ["zstd", "snappy"])
def test_a_file_of_kilobytes_that_stands_for_gigabytes_is_refused_in_little_memory(
    tmp_path: Path, compression: str
) -> None:
    """20,000 rows with one id of two million characters: 40 GB."""
    file, rows = tmp_path / "scores.parquet", 20_000
    filler = b"x" * rows  # as many bytes as rows
    content = table(rows, review_id=repeated("a" * 2_000_000, rows)).replace_schema_metadata({"": filler})
    pq.write_table(content, file, compression=compression)
    code = (
        "from pathlib import Path\nfrom sentiflow.evaluation.scores import read_scores\n"
        f"try:\n    read_scores(Path({str(file)!r}), {NAMES!r})\n"
        # The peak of this program alone: getrusage counts that of the process that started it, too.
        "except ValueError:\n    print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(ended.stdout) < 500_000  # KiB
