"""From the name of a dataset to its canonical, checked table."""

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sentiflow import base, files
from sentiflow.console import Progress, no_progress
from sentiflow.data import division, facts, imdb, inputs, parquet, reviews, rows, table
from sentiflow.data.division import in_fixed_order
from sentiflow.data.rows import Reject, Rejected, changed, kind_of, rejects_of
from sentiflow.data.table import DEFAULT_OPTIONS, Joined, Table, TableError, TableOptions
from sentiflow.errors import UsageError
from sentiflow.files import PARTIAL, create_private, make_folder, publish
from sentiflow.folder import expanded, here
from sentiflow.locks import file_lock
from sentiflow.names import BASE, BUILT_IN, dataset_name, located
from sentiflow.redaction import redact
from sentiflow.scoring import vocabulary
from sentiflow.settings import Settings

logger = logging.getLogger(__name__)

_PATIENCE = 1_800.0  # seconds: what the largest table takes to prepare


@dataclass(frozen=True)
class Source:
    """A dataset's source on this machine."""

    name: str
    files: tuple[Path, ...]  # what it is made from; none for the sample, which the package holds
    digest: str  # SHA-256 over the contents of the files, and of a user's tables over their names
    origin: str  # where it came from, for people
    fetched: bool  # whether anything was copied or downloaded this time
    options: TableOptions = DEFAULT_OPTIONS


@dataclass(frozen=True)
class Prepared:
    """A canonical table on this machine, a Parquet file, with the digest of its content."""

    name: str
    digest: str
    table: Path
    origin: str
    made: bool  # whether it was made this time rather than found
    rejected: Rejected | None = None
    left_out: dict[str, int] = field(default_factory=dict)  # rows of a user's table by their label to skip
    joined: Joined | None = None  # of a user's tables, what else was left out
    options: TableOptions = DEFAULT_OPTIONS


def check_dataset(dataset: str, settings: Settings, options: TableOptions = DEFAULT_OPTIONS) -> None:
    """Check what can be seen from a dataset's name, its options and the settings alone."""
    if dataset == BASE:
        raise UsageError(
            f"{BASE} is the model that the package carries: it can answer, and nothing is trained on it.",
            "Give imdb, sample, or the path of a table; to name a folder called base: ./base",
        )
    if dataset in BUILT_IN and options != DEFAULT_OPTIONS:
        names = ", ".join("--" + name.replace("_", "-") for name in TableOptions.model_fields)
        raise UsageError(
            f"{names} are for a table of your own, not for {dataset}.",
            "Leave them out, or name your table with --dataset.",
        )
    if dataset == "imdb":
        imdb.addresses(settings)
    elif dataset == "sample":
        return
    elif dataset and expanded(dataset).is_dir():
        inputs.tables_of(expanded(dataset))
    elif not expanded(dataset).is_file():
        found = here().glob(f"{dataset}.*") if re.fullmatch(r"[\w-]+", dataset) else ()
        hint = (
            "Give imdb, sample, or the path of a .csv, .jsonl or .parquet table, or of a folder of such tables: "
            "each training reads it."
        )
        near = min((each.name for each in found), default="")
        raise UsageError(f"No dataset or table {dataset!r}.", f"Did you mean {near}?" if near else hint)


def fetch(
    dataset: str, settings: Settings, progress: Progress = no_progress, options: TableOptions = DEFAULT_OPTIONS
) -> Source:
    """Bring the source of ``imdb``, ``sample`` or the tables at a path to this machine."""
    check_dataset(dataset, settings, options)
    if dataset == "imdb":
        files, fetched = imdb.fetch(settings, progress)
        urls = " and ".join(redact(address.url) for address in imdb.addresses(settings))
        return Source("imdb", tuple(files), _digest(files), urls, fetched)
    if dataset == "sample":
        return Source("sample", (), _digest([]), division.SAMPLE.name, fetched=False)
    path = Path(located(dataset))
    tables = tuple(inputs.tables_of(path))
    return Source(dataset_name(dataset), tables, _digest_of_tables(tables), str(path), False, options)


def find_prepared(dataset: str, settings: Settings, options: TableOptions = DEFAULT_OPTIONS) -> Prepared | None:
    """The canonical table that ``prepare`` made earlier; None if it or its source is not on this machine.

    Its digest is that of what the source gives; whether it is damaged is seen by who reads it, which takes longer.
    """
    check_dataset(dataset, settings, options)
    if dataset == "imdb" and not all(
        each.target(settings.data_dir).is_file() for each in imdb.addresses(settings)
    ):
        return None
    source = fetch(dataset, settings, options=options)
    folder = settings.data_dir / "datasets" / source.name
    noted = _noted(folder / f".{_key(source)}.json", source)
    if noted is None or not noted.table.is_file() or not reviews.vocabulary_file(noted.table).is_file():
        return None
    return noted


def find_kept(dataset: str, digest: str, settings: Settings, options: TableOptions) -> Prepared | None:
    """The table of this digest that was made of a dataset once, whatever its source holds now; or None."""
    source = Source(dataset_name(dataset), (), "", located(dataset), fetched=False, options=options)
    folder = settings.data_dir / "datasets" / source.name
    noted = (_noted(note, source) for note in sorted(folder.glob(".*.json")))
    kept = next((each for each in noted if each is not None and each.digest == digest), None)
    if kept is None or not kept.table.exists():
        return None
    reviews.read(kept.table)
    return kept


def kept_table(dataset: str, digest: str, settings: Settings) -> Path:
    """Where a dataset's table of this digest is, or would be; a damaged one of a built-in is made again."""
    path = settings.data_dir / "datasets" / dataset / f"{digest}.parquet"
    if path.exists() and dataset in BUILT_IN and not reviews.is_whole(path):
        prepare(fetch(dataset, settings), settings)
    return path


def prepare(source: Source, settings: Settings, progress: Progress = no_progress) -> Prepared:
    """Make the checked canonical table of a source, or find the one made earlier.

    Found again by what the result depends on: the source's content, how it is read, and this code. A table that is
    gone or damaged is made again. Rejected rows of a user's table are written beside it, or beside what is made
    of it where that folder cannot be written to.
    """
    folder = settings.data_dir / "datasets" / source.name
    note = folder / f".{_key(source)}.json"
    what = f"Another preparation of {source.name}"
    with file_lock(folder / ".lock", what, "preparation", patience=_PATIENCE, logger=logger):
        found = _find(note, source)
        if found is not None and _is_of(found, source, folder):
            reviews.mark_used(found.table)
            return found
        for leftover in folder.glob(f".*{PARTIAL}"):
            leftover.unlink()
        rejected: Rejected | None = None
        left_out: dict[str, int] = {}
        joined = places = texts = None
        if source.name == "imdb":
            content, words = imdb.load(*source.files)
        elif source.name == "sample":
            content, words = division.to_reviews(division.sample_rows())
        else:
            read, rejected = _read_table(source, folder, progress)
            ordered = in_fixed_order(read.rows)
            content, words = division.to_reviews(ordered, base.base().scorer.vocabulary.words)
            left_out, joined = read.left_out, read.joined
            places, texts = [row.place for row in ordered], [row.text for row in ordered]
        if _digest_now(source) != source.digest:
            raise changed(source.origin)
        facts.check(source.name, content, words)
        made = reviews.write(content, words, folder, places, texts, source.digest)
        noted = {
            "digest": made.stem,
            "rejected": rejected and asdict(rejected),
            "left_out": left_out,
            "joined": joined and asdict(joined),
        }
        signed = json.dumps(noted | {"sha256": _signature(noted)})
        publish(note, lambda path: path.write_text(signed, encoding="utf-8"))
    return Prepared(source.name, made.stem, made, source.origin, True, rejected, left_out, joined, source.options)


def _find(note: Path, source: Source) -> Prepared | None:
    """What a note leads to, if neither it nor the table is gone or damaged; the log says which is damaged."""
    noted = _noted(note, source)
    file = note if noted is None else noted.table
    if noted is not None and reviews.is_whole(file):
        return noted
    if file.exists():
        logger.warning("Damaged: %s. The reviews of %s are prepared again.", file, source.name)
    return None


def _noted(note: Path, source: Source) -> Prepared | None:
    """What a note says, unless it is gone or is not as it was written."""
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        if noted.pop("sha256") != _signature(noted):
            return None
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    table = note.with_name(f"{noted['digest']}.parquet")
    rejected = noted["rejected"] and Rejected(**noted["rejected"])
    left_out, joined = noted["left_out"], noted["joined"] and Joined(**noted["joined"])
    return Prepared(
        source.name, table.stem, table, source.origin, False, rejected, left_out, joined, source.options
    )


def _signature(noted: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(noted).encode()).hexdigest()


def _is_of(found: Prepared, source: Source, folder: Path) -> bool:
    """Whether a table names places in this source, and the file of rejected rows is that of it, if it has any."""
    if source.name in BUILT_IN:
        return True
    if reviews.made_of(found.table) != source.digest:
        return False
    file = _rejects_file(source, folder)
    if found.rejected is None:
        return not file.exists()
    try:
        return found.rejected.file == str(file) and found.rejected.digest == _digest([file])
    except OSError:
        return False


def _read_table(source: Source, folder: Path, progress: Progress) -> tuple[Table, Rejected | None]:
    """A user's table; its rejected rows are written, or those of an earlier reading removed."""
    file = _rejects_file(source, folder)
    try:
        read = table.read_table(Path(source.origin), source.options, progress)
    except TableError as err:
        _write_rejects(err.rejects, file)
        if err.rejects:
            err.args = (f"{err.args[0]}\n  All rejected rows: {file}",)
        raise
    _write_rejects(read.rejects, file)
    if not read.rejects:
        return read, None
    reasons = Counter(kind_of(reject.reason) for reject in read.rejects)
    total = len(read.rows) + read.joined.repeated + len(read.rejects)
    return read, Rejected(total, dict(reasons.most_common()), str(file), _digest([file]))


def _rejects_file(source: Source, folder: Path) -> Path:
    beside = rejects_of(Path(source.origin))
    return beside if os.access(beside.parent, os.W_OK) else folder / beside.name


def _write_rejects(rejects: Sequence[Reject], file: Path) -> None:
    """Write the file of rejects; without any, remove an earlier one."""

    def write(path: Path) -> None:
        with create_private(path) as stream:
            stream.writelines(f"{reject.to_json()}\n".encode() for reject in rejects)

    if rejects:
        publish(file, write)
    else:
        file.unlink(missing_ok=True)


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(map(_hash, files))).hexdigest()


_hashed: dict[tuple[Path, int, int, int, int], bytes] = {}
_SECOND = 10**9  # nanoseconds


def _hash(file: Path) -> bytes:
    """SHA-256 of a file, computed once in a process; again of one written just now, which may change unseen."""
    about = file.stat()
    state = file, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    if state in _hashed:
        return _hashed[state]
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").digest()
    if time.time_ns() - about.st_ctime_ns > _SECOND:
        _hashed[state] = found
    return found


def _digest_of_tables(files: Sequence[Path]) -> str:
    names = "\n".join(inputs.shown(file.name) for file in files)
    return hashlib.sha256(f"{_digest(files)}\n{names}".encode()).hexdigest()


def _digest_now(source: Source) -> str:
    """What the digest of a source would be now."""
    if source.name in BUILT_IN:
        return _digest(source.files)
    try:
        return _digest_of_tables(inputs.tables_of(Path(source.origin)))
    except (FileNotFoundError, UsageError):  # a file went meanwhile
        return ""


def _key(source: Source) -> str:
    parts = f"{source.name} {source.digest} {source.options.model_dump_json()} {_code_version()}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


@cache
def _code_version() -> str:
    """Digest of the code that decides what a table holds; any edit of it makes the tables again."""
    modules = (division, files, imdb, inputs, parquet, reviews, rows, table, vocabulary)
    return _digest([*(Path(str(module.__file__)) for module in modules), base.FILE, division.SAMPLE])


def check_data(
    dataset: str, settings: Settings, options: TableOptions = DEFAULT_OPTIONS, progress: Progress = no_progress
) -> None:
    """Check that the dataset can be asked for and the data folder be written, and prepare a user's table."""
    check_dataset(dataset, settings, options)
    make_folder(settings.data_dir)
    with tempfile.TemporaryFile(dir=settings.data_dir):
        pass
    if dataset not in BUILT_IN:
        prepare(fetch(dataset, settings, progress, options), settings, progress)
