"""Tables that are small as files and huge in memory."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data.inputs import open_input
from sentiflow.errors import UsageError
from tests.world import ROOT

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
    "the same, not said in the schema": lambda path: write(path, {"store_schema": False}, text=ONE_LONG),
    "the same, of the other kind": lambda path: write(
        path, text=ONE_LONG.cast(pa.dictionary(pa.int32(), pa.large_string()))
    ),
    "each text is nearly the one before": lambda path: write(
        path, {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY", "label": "PLAIN"}},
        text=pa.array([f"{LONG}{k}" for k in range(150)]),
    ),
    "one text of 300 MB": lambda path: write(
        path, {"use_dictionary": False, "write_statistics": False}, text=pa.array(["b" * 280_000_000])
    ),
    "a column that goes along": lambda path: write(path, kept=ONE_LONG),
    "a name with dots": lambda path: write(path, {"store_schema": False}, **{"kept.as.it.is": ONE_LONG}),
    "a long text after rows without one": lambda path: write(path, text=LATE),
    "five million rows of nothing": many_rows,
}  # fmt: skip

READ = """
import resource, sys
from pathlib import Path
from sentiflow.data.inputs import open_input, to_values
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
for read in (score, lambda path: read_table(path, TableOptions())):
    try:
        read(Path(sys.argv[1]))
        print("read")
    except UsageError as err:
        print(str(err).splitlines()[0])
"""


@pytest.mark.parametrize("what", TABLES)
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


def test_lists_are_not_read_even_where_arrow_reads_them_along(tmp_path: Path) -> None:
    """Red if a list of all rows' texts is decoded, of a column whose name begins with another's and a dot."""
    path, one_list = tmp_path / "in.parquet", pa.ListArray.from_arrays([0, *[ROWS] * 100], ONE_LONG)
    write(path, **{"text": GOOD[:100], "text.more": one_list})
    table = open_input(path)
    with pytest.raises(UsageError, match=r"the column text\.more holds list"):
        table.select("text", ["text.more"])
    table.select("text")
    with pytest.raises(UsageError, match="cannot be read apart"):
        list(table.chunks())
    write(path, **{"text": GOOD[:100], "text.more": GOOD[:100]})
    table = open_input(path)
    table.select("text")
    (chunk,) = table.chunks()
    assert chunk.texts == GOOD[:100].to_pylist()


def test_a_text_of_the_label_column_is_bounded_too(tmp_path: Path) -> None:
    write(tmp_path / "in.parquet", label=ONE_LONG)
    table = open_input(tmp_path / "in.parquet")
    table.select("text", ["label"])
    largest = max(len(chunk) for chunk, _ in zip(table.chunks(), range(3), strict=False))
    assert largest * len(LONG) <= 2**25 + 8_000_000


@pytest.mark.parametrize("kind", ["plain", "dictionary"])
def test_a_table_like_others_is_read_in_full_chunks(tmp_path: Path, kind: str) -> None:
    """Red if what tells huge tables from others would slow those down, or refuse them."""
    texts = pa.array([f"good film {'again ' * (k % 300)}{k}" for k in range(10_000)])
    write(tmp_path / "in.parquet", text=texts if kind == "plain" else texts.dictionary_encode())
    table = open_input(tmp_path / "in.parquet")
    table.select("text")
    assert [len(chunk) for chunk in table.chunks()] == [2_048, 2_048, 2_048, 2_048, 1_808]
