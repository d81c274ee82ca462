import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data.inputs import open_input
from sentiflow.data.parquet import ParquetTable
from sentiflow.errors import ExternalError, UsageError
from tests.world import ROOT


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


ROWS, LONG = 20_000, "a" * 2_000_000
ONE_LONG = pa.DictionaryArray.from_arrays(pa.array(np.zeros(ROWS, np.int32)), pa.array([LONG]))
# Each row that is read alone brings the long text along.
LATE = pa.DictionaryArray.from_arrays(pa.array([None] * 1_990 + [0] * 10, pa.int32()), pa.array([LONG * 15]))
GOOD = pa.array([f"good {k}" for k in range(ROWS)])


def write(path: Path, how: dict[str, object] | None = None, **columns: pa.Array) -> None:
    n = len(next(iter(columns.values())))
    table = pa.table({"label": np.arange(n) % 2, **({} if "text" in columns else {"text": GOOD[:n]}), **columns})
    pq.write_table(table, path, compression="zstd", **(how or {}))  # type: ignore[arg-type]


def many_rows(path: Path) -> None:
    schema = pa.schema([("text", pa.string()), ("label", pa.int8())])
    with pq.ParquetWriter(path, schema) as out:
        for _ in range(5):
            out.write_table(pa.table([pa.nulls(10**6, pa.string()), pa.nulls(10**6, pa.int8())], schema=schema))


TABLES: dict[str, Callable[[Path], None]] = {
    "one text in all rows": lambda path: write(path, text=ONE_LONG),
    "a column that goes along": lambda path: write(path, kept=ONE_LONG),
    "a long text after rows without one": lambda path: write(path, text=LATE),
    "five million rows of nothing": many_rows,
}  # fmt: skip

READ = """
import resource, sys
from pathlib import Path
from sentiflow.data.inputs import open_input
from sentiflow.data.parquet import to_values
from sentiflow.data.table import read_table, TableOptions
from sentiflow.errors import UsageError
import pyarrow.compute
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000,) * 2)
def score(path):
    table = open_input(path)
    table.select("text", [name for name in table.names if name.startswith("kept")])
    for chunk in table.chunks():
        [to_values(column) for column in chunk.columns.columns]
for read in (score, lambda path: read_table(path, TableOptions(), *map(path.with_name, ("rejects", "kept")))):
    try:
        read(Path(sys.argv[1]))
        print("read")
    except UsageError as err:
        print(str(err).splitlines()[0])
"""


QUICK = ("one text in all rows", "a long text after rows without one", "five million rows of nothing")


@pytest.mark.parametrize(
    "what", [pytest.param(name, marks=() if name in QUICK else pytest.mark.story) for name in TABLES]
)
def test_a_small_file_takes_little_memory_whatever_it_unpacks_to(tmp_path: Path, what: str) -> None:
    path = tmp_path / "in.parquet"
    TABLES[what](path)
    assert path.stat().st_size < 100_000
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False, cwd=ROOT,
        env={"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scored, trained = done.stdout.splitlines()
    assert " bytes unpack to more than " in scored
    refused = not any(name.startswith("kept") for name in pq.read_schema(path).names)  # no training reads them
    assert (" bytes unpack to more than " in trained, trained == "read") == (refused, not refused)


@pytest.mark.parametrize("kind", ["plain", "dictionary"])
def test_a_table_like_others_is_read_in_full_chunks(tmp_path: Path, kind: str) -> None:
    """Red if what tells huge tables from others would slow those down, or refuse them."""
    texts = pa.array([f"good film {'again ' * (k % 300)}{k}" for k in range(10_000)])
    write(tmp_path / "in.parquet", text=texts if kind == "plain" else texts.dictionary_encode())
    table = open_input(tmp_path / "in.parquet")
    table.select("text")
    assert [len(chunk) for chunk in table.chunks()] == [2_048, 2_048, 2_048, 2_048, 1_808]
