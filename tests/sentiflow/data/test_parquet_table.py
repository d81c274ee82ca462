import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data.inputs import ParquetTable
from sentiflow.errors import ExternalError, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.parquet"


def opened(path: Path, *kept: str) -> ParquetTable:
    table = ParquetTable(path)
    table.select("text", kept)
    return table


BROKEN = pa.array([b"good", b"caf\xe9", None], pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["good", None, " "]), ["", "no text", "no text"]),
        (pa.array(["good", None], pa.large_string()), ["", "no text"]),
        (pa.array(["good", None], pa.string_view()), ["", "no text"]),
        (pa.array(["good", None, "good"]).dictionary_encode(), ["", "no text", ""]),
        (BROKEN, ["", "not UTF-8", "no text"]),
        (pa.array([None, None], pa.null()), ["no text", "no text"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_what_each_type_of_column_gives(path: Path, column: pa.Array, expected: list[str]) -> None:
    pq.write_table(pa.table({"text": column}), path)
    (chunk,) = opened(path).chunks()
    found = {reject.row: reject.reason for reject in chunk.rejects}
    assert [found.get(row, "") for row in range(1, len(column) + 1)] == expected


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("text", pa.array([1, None])),
        ("text", pa.array([b"good", None])),
        ("text", pa.array([["good"], None])),
        ("kept", pa.array([["good"], None])),
        ("kept", pa.array([{"a": 1}, None])),
    ],
    ids=str,
)
def test_columns_of_no_text_and_of_lists_are_refused_by_their_names(
    path: Path, name: str, column: pa.Array
) -> None:
    pq.write_table(pa.table({"text": ["good", "bad"], name: column}), path)
    with pytest.raises(UsageError, match=f"the column {name} holds"):
        opened(path, *({name} - {"text"}))


def test_kept_columns_keep_type_and_value_beside_rejects_and_over_chunks(path: Path, job: Callable) -> None:
    n = 5_000
    table = pa.table(
        {
            "text": [None if k % 7 == 0 else "good" for k in range(n)],
            "number": pa.array(range(n), pa.uint16()),
            "moment": pa.array(range(n), pa.timestamp("ns", tz="Europe/Berlin")),
            "kind": pa.array([f"kind {k % 300}" for k in range(n)]).dictionary_encode(),
            "id": pa.array([k.to_bytes(16) for k in range(n)], pa.uuid()),
            "large": pa.array([str(k) for k in range(n)], pa.large_string()),
        }
    )
    pq.write_table(table, path, row_group_size=1_000)
    keep = tuple(table.column_names[1:])
    done = job(path, keep=keep)
    assert done.totals.scored == n - 715 and len(done.rejects) == 715
    made = pq.read_table(path.parent / "out.parquet")
    expected = table.filter(pa.array([k % 7 != 0 for k in range(n)]))
    for name in keep:
        assert made[name].type == table[name].type
        assert made[name].to_pylist() == expected[name].to_pylist(), name
    assert made["row"].to_pylist() == [k + 1 for k in range(n) if k % 7]


def test_chunks_are_bounded_in_rows_and_in_bytes(path: Path) -> None:
    pq.write_table(pa.table({"text": ["good"] * 10_000 + ["x" * 50_000] * 1_000}), path)
    chunks = list(opened(path).chunks())
    assert sum(map(len, chunks)) == 11_000
    assert max(map(len, chunks)) <= 2_048
    assert max(sum(map(len, chunk.texts)) for chunk in chunks) <= 8_000_000 + 256 * 50_000


def test_chunks_are_as_long_as_others_whatever_the_row_groups(path: Path) -> None:
    pq.write_table(pa.table({"text": ["good"] * 2_200, "n": [1] * 2_200}), path, row_group_size=100)
    assert [len(chunk) for chunk in opened(path, "n").chunks()] == [2_100, 100]


@pytest.mark.story
def test_categories_of_a_whole_file_are_not_in_each_of_its_chunks(path: Path) -> None:
    """Red if a column of ids makes a chunk of each batch, and a part of each chunk with all ids: gigabytes."""
    ids = pa.array([f"{k:064}" for k in range(200_000)]).dictionary_encode()
    pq.write_table(pa.table({"text": ["good"] * 200_000, "id": ids}), path)
    chunks = list(opened(path, "id").chunks())
    assert len(chunks) == 98  # of 2,048 rows
    assert [value for chunk in chunks for value in chunk.columns["id"].to_pylist()] == ids.to_pylist()
    assert max(chunk.columns.nbytes for chunk in chunks) < 2_048 * 100


def test_the_name_of_a_file_need_not_be_utf_8(path: Path) -> None:
    path = path.with_name(os.fsdecode(b"caf\xe9.parquet"))
    pq.write_table(pa.table({"text": ["good"]}), path.open("wb"))
    (chunk,) = opened(path).chunks()
    assert chunk.texts == ["good"]


def test_what_is_no_parquet_is_refused(path: Path) -> None:
    path.write_text("text\ngood\n")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        ParquetTable(path)


def test_a_damaged_footer_is_no_failure_of_the_disk_and_no_bug(path: Path) -> None:
    """Red if Arrow's own OSError, which names no file, passes for the system's, or a name must be text."""
    pq.write_table(pa.table({"text": ["good"]}), path)
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8]
    for damaged in (bytes([255] * length), footer.replace(b"text", b"\x86ext")):
        path.write_bytes(content[: -8 - length] + damaged + content[-8:])
        with pytest.raises(UsageError, match="in.parquet: cannot be read as Parquet: "):
            ParquetTable(path)


def test_damage_further_down_names_the_row(path: Path) -> None:
    rng = np.random.default_rng(1)
    texts = pa.array(["".join(map(chr, row)) for row in rng.integers(97, 122, (20_000, 40))])
    pq.write_table(pa.table({"text": texts}), path, row_group_size=5_000, use_dictionary=False, compression="zstd")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 5_000] = bytes(5_000)
    path.write_bytes(content)
    with pytest.raises(ExternalError, match=r"cannot be read beyond row [\d,]+:"):
        list(opened(path).chunks())


def test_damage_of_the_first_rows_is_told_as_such(path: Path) -> None:
    pq.write_table(pa.table({"text": ["good"] * 1_000}), path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:24] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ExternalError, match=r"in\.parquet: cannot be read beyond row 0: "):
        list(opened(path).chunks())


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()], ids=str)
def test_columns_of_views_are_kept_beside_rejected_rows(path: Path, kind: pa.DataType) -> None:
    """Red if Arrow, which picks no rows from views, is asked to."""
    pq.write_table(pa.table({"text": ["good", None, "bad"], "kept": pa.array(["a", "b", "c"], kind)}), path)
    (chunk,) = opened(path, "kept").chunks()
    assert [str(value) for value in chunk.columns["kept"].cast(pa.large_string()).to_pylist()] == ["a", "c"]
