"""From a path to the source that reads it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sentiment.batch.csv_table import CsvTable
from sentiment.batch.folder import Folder
from sentiment.batch.json_lines import JsonLines
from sentiment.batch.parquet_table import ParquetTable
from sentiment.batch.results import own_names, rejects_of
from sentiment.batch.source import Source
from sentiment.errors import UsageError

_KINDS: dict[str, Callable[[Path, str, Sequence[str]], Source]] = {
    ".csv": CsvTable,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
}
_OTHER_TABLES = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".xlsx"}  # an output named so would mislead


def open_source(path: Path, column: str, keep: Sequence[str]) -> Source:
    """Look at an input: its kind, its columns, its size.

    Args:
        path: a table or a folder.
        column: the texts.
        keep: columns that go along to the output.

    Raises:
        UsageError: no such input, none of a known kind, an empty one, or one without these columns.
        OSError: it cannot be read.
    """
    keep = list(dict.fromkeys(keep))
    if path.is_dir():
        return _checked(Folder(path, column, keep), keep)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder.", "Give a table or a folder of .txt files to score.")
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise UsageError(
            f"{path}: no kind of input that can be read.",
            f"Give a file that ends in {', '.join(_KINDS)}, or a folder of .txt files.",
        )
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.", "A table holds a header or keys, and rows.")
    return _checked(kind(path, column, keep), keep)


def check_output(source: Path, output: Path) -> None:
    """Check that an output can be put there at all, and would not replace its input.

    Raises:
        UsageError: it is a folder, is named like another kind of table, or is the input.
    """
    for written in (output, rejects_of(output)):
        if written.is_dir():
            raise UsageError(
                f"{written} is a folder.", "-o names the Parquet file to write; rejects go beside it."
            )
        if written.exists() and not written.is_file():
            raise UsageError(
                f"{written} is a device or a pipe.", "-o names a file, which appears whole at the end."
            )
    if output.suffix.lower() in _OTHER_TABLES:
        raise UsageError(f"{output}: the output is a Parquet file.", f"For example: -o {output.stem}.parquet")
    for written in (output, rejects_of(output)):
        if written.exists() and written.samefile(source):
            raise UsageError(f"{written} is the input; it would be replaced.", "Name another output with -o.")


def _checked(source: Source, keep: Sequence[str]) -> Source:
    taken = [name for name in keep if name in own_names(source)]
    if taken:
        raise UsageError(
            f"The output has a column {taken[0]} of its own, so {taken[0]} of the input cannot be kept.",
            f"Rename it in the input; the output's own are: {', '.join(own_names(source))}.",
        )
    return source
