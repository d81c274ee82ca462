"""What a path holds, tables or texts, in folders and archives, and which reader each needs."""

import codecs
import hashlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from shlex import quote
from stat import S_ISREG
from typing import NamedTuple

import pyarrow as pa

from sentiflow.data.packed import ARCHIVE, members, on_disk, size_of, suffix_of
from sentiflow.data.parquet import ParquetTable
from sentiflow.data.readers import TEXT, CsvTable, Sheet, first_line, head, json_table
from sentiflow.data.reviews import SPLITS
from sentiflow.data.rows import (
    NOT_UTF8,
    OUTPUT_COLUMNS,
    REJECTS,
    TOO_LONG,
    Input,
    Record,
    Row,
    RowInput,
    match,
    strings,
)
from sentiflow.errors import UsageError
from sentiflow.files import LONGEST


class Folder(RowInput):
    """All ``.txt`` files below a folder, sorted; a link that leads out of it is a reject: nobody named that."""

    many = True
    schema = pa.schema([("source", pa.string())])
    _texts: Sequence[str] = ("text",)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.path.realpath(path)
        self._names = self._find()
        if not self._names:
            hint = "Each such file is a text to score; so is each row of the tables in a folder."
            raise UsageError(f"{path}: no table, and no {TEXT} file in it or below it.", hint)
        self.total = len(self._names)
        self.size = sum(about.st_size for _, about in self._stats() if about)

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        if label or others or text != "text":
            problem = f"{self.path} is a folder of texts: it has no columns."
            raise UsageError(problem, "Leave --text-column, --label-column and --keep out; each file is a text.")

    def records(self) -> Iterator[Record]:
        for done, name in enumerate(self._names, 1):
            text, wrong, value = self._read(name)
            yield Record([text, *self._along(name)], wrong, value if wrong else None, done, 0, shown(name))

    def state(self) -> object:
        self._names = self._find()
        return [(name, about and (about.st_size, about.st_mtime_ns)) for name, about in self._stats()]

    def _find(self) -> list[str]:
        return [name for name in _below(self.path, linked_folders=False) if name.lower().endswith(TEXT)]

    def _along(self, name: str) -> list[str]:
        """What goes along with a text, in the order of ``schema``."""
        return [shown(name)]

    def _stats(self) -> Iterator[tuple[str, os.stat_result | None]]:
        for name in self._names:
            try:
                yield name, (self.path / name).stat()
            except OSError:  # a broken link: it becomes a reject, with its reason
                yield name, None

    def _read(self, name: str) -> tuple[str, str, bytes]:
        """Text, or reason and what is there instead."""
        path = self.path / name
        try:
            if _leads_out(path, self._root):
                return "", "unreadable: a link that leads out of the folder", b""
            if not S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                return "", "unreadable: not a regular file", b""
            with path.open("rb") as stream:
                content = stream.read(LONGEST + 1)
        except OSError as err:
            return "", f"unreadable: {err.strerror}", b""
        if len(content) > LONGEST:
            return "", TOO_LONG, content
        try:
            return content.decode("utf-8-sig"), "", b""
        except UnicodeDecodeError:
            return "", NOT_UTF8, content


class LabelledTexts(Folder):
    """A folder ``pos``, ``neg`` of ``.txt`` files, or such folders in ``train`` and ``test``, as IMDB comes."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._chosen = list(names)
        super().__init__(path)
        has_splits = all(name.count("/") == len(SPLIT_AND_LABEL) for name in names)
        self.names = ["label", *(["split"] if has_splits else []), "source"]

    def select_usual(self, text: str, others: Sequence[str] = (), label: str = "") -> list[str]:  # noqa: ARG002
        self.schema = pa.schema([(name, pa.string()) for name in ("label", *others)])
        return []

    def _find(self) -> list[str]:
        return self._chosen

    def _along(self, name: str) -> list[str]:
        along = {"label": name.split("/")[-2], "split": name.split("/")[0], "source": shown(name)}
        return [along[column] for column in self.schema.names]


SPLIT_AND_LABEL = ("split", "label")  # the folders above a text


class Tables(Input):
    """The tables of a folder or an archive, one after the other; the name of each goes along with its rows."""

    def __init__(self, path: Path, found: "Found", sheet: str = "") -> None:
        self.path = path
        inputs = {called(table, path): open_input(table, sheet) for table in found.tables}
        outputs = [name for name, each in inputs.items() if is_output(each)]
        self._inputs = {name + each.part: each for name, each in inputs.items() if name not in outputs}
        if not self._inputs:
            raise UsageError(f"{path}: all tables in it are outputs of scoring.", "There is nothing to score.")
        inside = [f"{name}, {part}" for name, each in inputs.items() for part in each.unread]
        self.unread = sorted([*found.unread, *outputs, *inside])
        first, *others = self._inputs.values()
        self.names = [name for name in first.names if all(match(name, each.names) for each in others)]
        self.total = sum(each.total for each in self._inputs.values())
        self.size = sum(each.size for each in self._inputs.values())

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        self.select_usual(text, others, label)

    def select_usual(self, text: str, others: Sequence[str] = (), label: str = "") -> list[str]:
        every = self._inputs.values()
        told = [line for each in every for line in each.select_usual(text, others, label)]
        columns = next(iter(self._inputs.values())).schema.names
        self.schema = pa.schema([(name, pa.string()) for name in (*columns, "source")])
        return list(dict.fromkeys(told))

    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        for name, each in self._inputs.items():
            for group, columns, units in each.groups():
                texts = [column.cast(pa.string()) for column in columns.columns]
                named = strings([name] * sum(not row.reason for row in group))
                rows = [row._replace(source=name) for row in group]
                yield rows, pa.table([*texts, named], schema=self.schema), units

    def state(self) -> object:
        return [each.state() for each in self._inputs.values()]


def _leads_out(path: Path, root: str) -> bool:
    """Whether a path is a link to outside of a folder; OSError for one that leads nowhere."""
    return path.is_symlink() and not Path(os.path.realpath(path, strict=True)).is_relative_to(root)


def _below(folder: Path, linked_folders: bool = True) -> list[str]:
    """Relative paths with forward slashes, sorted; strings, as there may be a million."""
    found = []
    for path, folders, names in os.walk(folder, onerror=_refuse):
        below = Path(path).relative_to(folder).as_posix()
        above = "" if below == "." else f"{below}/"
        found += [above + name for name in names]
        if linked_folders:  # which are not entered
            found += [above + name for name in folders if (Path(path) / name).is_symlink()]
    return sorted(found)


def _refuse(err: OSError) -> None:
    """A folder that cannot be listed would lose its files silently."""
    raise err


def shown(name: str) -> str:
    """A file's name as valid text."""
    return os.fsencode(name).decode(errors="backslashreplace")


def called(table: Path, dataset: Path) -> str:
    """A table's name for people, below the folder or archive that was named."""
    return shown(table.relative_to(dataset).as_posix() if table != dataset else table.name)


def is_output(table: Input) -> bool:
    """Whether scoring wrote a table."""
    return set(OUTPUT_COLUMNS) <= set(table.names)


_ROWS: dict[str, Callable[[Path], Input]] = {
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".txt": CsvTable,
    ".jsonl": json_table,
    ".ndjson": json_table,
    ".json": json_table,
}
_WHOLE: dict[str, Callable[[Path, str], Input]] = {
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
    ".xlsx": Sheet,
    ".xls": Sheet,
    ".ods": Sheet,
}
"""Tables that are not unpacked, as they are packed by themselves."""

_SUPPORTED = (
    f"files that end in {', '.join(each for each in (*_ROWS, *_WHOLE) if each != TEXT)}, or in .txt with tabs; "
    ".gz, .bz2 and .xz of those with rows, and .zip of them, too"
)


class Found(NamedTuple):
    """What a dataset's path holds."""

    files: tuple[Path, ...]  # on the disk, that are read
    tables: list[Path]  # files, and members of archives; none where ``texts`` are read
    texts: list[str]  # names of files in folders that are called as labels are
    unread: list[str]  # other files


def find_tables(path: Path, labels: Container[str] = ()) -> Found:
    """The tables of a folder or an archive by their names, else the path itself; hidden files count nowhere."""
    if not path.is_dir():
        tables, unread = _unpacked(path)
        if not tables:
            raise UsageError(f"{path}: no table in this archive.", f"Put tables into it: {_SUPPORTED}.")
        return Found((path,), tables, [], list(map(shown, unread)))
    there = [name for name in _below(path) if not any(part.startswith(".") for part in name.split("/"))]
    texts = [name for name in there if _label_of(name).lower() in labels]
    others = sorted(set(there) - set(texts))
    files = [path / name for name in others if may_be_table(path / name) or name.lower().endswith(ARCHIVE)]
    files = [file for file in files if not file.name.endswith(REJECTS)]
    for file in files:
        _check_file(file, path)
    unpacked = [_unpacked(file) for file in files]
    tables = [table for some, _ in unpacked for table in some]
    if tables:
        texts, others = [], there
    inside = [f"{file.name}/{name}" for file, (_, names) in zip(files, unpacked, strict=True) for name in names]
    unread = [name for name in others if path / name not in files and not name.endswith(REJECTS)]
    if not (tables or texts):
        held = {label for name in there if (label := _label_of(name))}
        hint = f"Say what the texts in {', '.join(sorted(held)[:5])} are: --labels good=1,bad=0" if held else ""
        problem = "\n  ".join([f"{path}: no table in this folder.", *not_read([*map(shown, unread)])])
        raise UsageError(problem, hint or f"Put tables into it: {_SUPPORTED}.")
    read = tuple(files if tables else (path / name for name in texts))
    return Found(read, tables, texts, sorted(map(shown, unread + inside)))


def _label_of(name: str) -> str:
    """The folder of a text file, where that is one of a folder of texts by label; else empty."""
    *above, _ = name.split("/")
    by_label = len(above) == 1 or (len(above) == len(SPLIT_AND_LABEL) and above[0] in SPLITS)
    return above[-1] if by_label and name.lower().endswith(TEXT) else ""


_NAMED = 5


def not_read(names: Sequence[str]) -> list[str]:
    """What to say of files that are not read; nothing of none."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    count = "1 file" if len(names) == 1 else f"{len(names):,} files"
    return [f"Not read, {count}: {', '.join(names[:_NAMED])}{more}"] if names else []


def _unpacked(file: Path) -> tuple[list[Path], list[str]]:
    """The tables in an archive, and the names of what else it holds; of another file itself."""
    if file.suffix.lower() != ARCHIVE:
        return [file], []
    every = members(file)
    tables = [each for each in every if suffix_of(each) in _ROWS and may_be_table(each)]
    return tables, [each.relative_to(file).as_posix() for each in every if each not in tables]


def _check_file(file: Path, folder: Path) -> None:
    if not file.is_file():
        problem = f"{file} is no file, but a folder, a pipe or a link that leads nowhere."
        raise UsageError(problem, "Put the table itself there, or remove it.")
    if _leads_out(file, os.path.realpath(folder)):
        raise UsageError(f"{file} is a link that leads out of the folder.", "Put the table itself there.")


def may_be_table(path: Path) -> bool:
    """Whether a file's ending is that of a table; other texts than tables end in ``.txt``, too."""
    suffix = suffix_of(path)
    if suffix == TEXT:
        return path.is_file() and "\t" in first_line(path)
    return suffix in _ROWS or path.suffix.lower() in _WHOLE


def digest_of(files: Iterable[Path], folder: Path | None = None) -> str:
    """SHA-256 over the contents and the names of files; those in a folder are named below it."""
    state = hashlib.sha256()
    for file in files:
        about = file.stat()
        found = _hash(file, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        name = file.relative_to(folder).as_posix() if folder and folder.is_dir() else file.name
        state.update(found + hashlib.sha256(os.fsencode(name)).digest())
    return state.hexdigest()


@cache
def _hash(file: Path, *_about: int) -> bytes:
    """SHA-256 of a file, computed once in a process until it changes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def open_input(path: Path, sheet: str = "") -> Input:
    """The reader of a table, of all tables in a folder or an archive, or of the texts in a folder without any."""
    if path.is_dir():
        found = find_tables(path) if any(map(_is_named_table, _below(path))) else None
        return Tables(path, found, sheet) if found else Folder(path)
    if not on_disk(path).exists():
        raise UsageError(f"{path}: no such file or folder.", "Give a table or a folder of .txt files.")
    if path.is_file() and path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.", "A table needs column names and rows.")
    if path.is_file() and path.suffix.lower() == ARCHIVE:
        return Tables(path, find_tables(path), sheet)
    if not on_disk(path).is_file() or not (on_disk(path) != path or may_be_table(path)):
        problem = f"{path}: not a supported table."
        raise UsageError(problem, f"Give {_SUPPORTED}; for `score`, also a folder of .txt files.")
    if path.suffix.lower() in _WHOLE:
        return _WHOLE[path.suffix.lower()](path, sheet)
    size_of(path)
    _check_encoding(path)
    return _ROWS[suffix_of(path)](path)


def _is_named_table(name: str) -> bool:
    """Whether a name is a table's, but not that of a text."""
    path = Path(name)
    hidden = any(part.startswith(".") for part in path.parts) or name.endswith(REJECTS)
    return not hidden and path.suffix.lower() != TEXT and (may_be_table(path) or path.suffix.lower() == ARCHIVE)


def _check_encoding(path: Path) -> None:
    """Refuse what only looks like a table of text: what Excel saves as Unicode text, and workbooks."""
    begin = head(path)
    if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        written = f"iconv -f UTF-16 -t utf-8 {quote(str(path))} > utf8-{quote(path.name)}"
        raise UsageError(f"{path}: not UTF-8, but UTF-16.", f"Convert it: {written}")
    if begin[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        problem = f"{path}: a workbook or an archive, not a {suffix_of(path)}."
        raise UsageError(problem, "Call it by what it is: .xlsx, .xls, .ods or .zip")
