from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data.inputs import open_input
from sentiflow.data.packed import check_unpacked
from sentiflow.data.parquet import ParquetTable
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
        assert made[name].type == (pa.string() if name == "kind" else table[name].type)
        assert made[name].to_pylist() == expected[name].to_pylist(), name
    assert made["row"].to_pylist() == [k + 1 for k in range(n) if k % 7]


def test_chunks_are_bounded_in_rows_and_in_bytes(path: Path) -> None:
    pq.write_table(pa.table({"text": ["good"] * 10_000 + ["x" * 50_000] * 1_000}), path)
    chunks = list(opened(path).chunks())
    assert sum(map(len, chunks)) == 11_000
    assert max(map(len, chunks)) <= 2_048
    assert max(sum(map(len, chunk.texts)) for chunk in chunks) <= 8_000_000 + 256 * 50_000


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


def test_a_small_file_of_millions_of_rows_is_refused(path: Path) -> None:
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for _ in range(5):
            out.write_table(pa.table([pa.nulls(10**6, pa.string())], schema=schema))
    with pytest.raises(UsageError, match="bytes unpack to 5,000,000 rows"):
        open_input(path)


def test_a_small_file_that_unpacks_to_much_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_unpacked, "__defaults__", (2**20, 100, "bytes"))
    texts = pa.array(["a" * 20_000 + str(number) for number in range(150)])
    pq.write_table(pa.table({"text": texts}), path, compression="zstd")
    with pytest.raises(UsageError, match="bytes unpack to 3,"):
        open_input(path)


def test_a_column_whose_name_begins_with_that_of_another_is_left(path: Path) -> None:
    """Arrow reads it along."""
    pq.write_table(pa.table({"text": ["good"], "text.more": [["bad"]]}), path)
    (chunk,) = opened(path).chunks()
    assert chunk.texts == ["good"]


@pytest.mark.parametrize("kind", ["plain", "dictionary"])
def test_a_table_like_others_is_read_in_full_chunks(tmp_path: Path, kind: str) -> None:
    """Red if what tells huge tables from others would slow those down, or refuse them."""
    texts = pa.array([f"good film {'again ' * (k % 300)}{k}" for k in range(10_000)])
    column = texts if kind == "plain" else texts.dictionary_encode()
    pq.write_table(pa.table({"text": column}), tmp_path / "in.parquet", compression="zstd")
    table = open_input(tmp_path / "in.parquet")
    table.select("text")
    assert [len(chunk) for chunk in table.chunks()] == [2_048, 2_048, 2_048, 2_048, 1_808]
