"""From the name of a dataset to its canonical, checked table, and its figures."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from sentiflow import files
from sentiflow.base import model as base
from sentiflow.console import Progress, no_progress
from sentiflow.data import division, hubs, imdb, inputs, packed, parquet, readers, reviews, rows, table
from sentiflow.data.division import Labelled, in_fixed_order
from sentiflow.data.reviews import Reviews
from sentiflow.data.rows import Rejected, changed
from sentiflow.data.table import DEFAULT_OPTIONS, Joined, Table, TableOptions
from sentiflow.environment import expanded
from sentiflow.errors import UsageError
from sentiflow.files import PARTIAL, publish
from sentiflow.locks import file_lock
from sentiflow.names import BASE, BUILT_IN, dataset_name, in_hub, located
from sentiflow.redaction import redact
from sentiflow.scoring import OUT_OF_VOCABULARY, Vocabulary, vocabulary
from sentiflow.scoring.vocabulary import FIRST_WORD, limit
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
    unread: tuple[str, ...] = ()  # names of what else a user's folder holds


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


def _check_built_in(dataset: str, settings: Settings, options: TableOptions) -> None:
    """Check what can be seen from the name of a dataset of ours, its options and the settings alone."""
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


def fetch(
    dataset: str, settings: Settings, progress: Progress = no_progress, options: TableOptions = DEFAULT_OPTIONS
) -> Source:
    """Bring the source of ``imdb``, ``sample`` or the tables at a path to this machine."""
    _check_built_in(dataset, settings, options)
    if dataset == "imdb":
        files, fetched = imdb.fetch(settings, progress)
        urls = " and ".join(redact(address.url) for address in imdb.addresses(settings))
        return Source("imdb", tuple(files), inputs.digest_of(files), urls, fetched)
    if dataset == "sample":
        return Source("sample", (), inputs.digest_of([]), division.SAMPLE.name, fetched=False)
    of_hub, _ = in_hub(dataset)
    there = hubs.bring(dataset, settings) if of_hub else expanded(dataset)
    if not dataset or not (there.is_dir() or there.is_file()):
        raise UsageError(
            f"No dataset or table {dataset!r}.",
            "Give imdb, sample, or the path of a table, of a folder of tables, or of a folder pos, neg of texts: "
            "each training reads it. Or one of a hub: hf://OWNER/NAME, kagglehub://OWNER/NAME",
        )
    path = there if of_hub else Path(located(dataset))
    name = dataset_name(dataset)
    found = inputs.find_tables(path, options.text_labels())
    return Source(
        name, found.files, inputs.digest_of(found.files, path), str(path), False, options, tuple(found.unread)
    )


def find_prepared(dataset: str, settings: Settings, options: TableOptions = DEFAULT_OPTIONS) -> Prepared | None:
    """The canonical table that ``prepare`` made earlier; None if it or its source is not on this machine.

    Its digest is that of what the source gives; whether it is damaged is seen by who reads it, which takes longer.
    """
    _check_built_in(dataset, settings, options)
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
    name = dataset_name(dataset)
    path = settings.data_dir / "datasets" / name / f"{digest}.parquet"
    if not path.exists():
        return None
    reviews.read(path)
    return Prepared(name, digest, path, located(dataset), made=False, options=options)


def kept_table(dataset: str, digest: str, settings: Settings) -> Path:
    """Where a dataset's table of this digest is, or would be; a damaged one of a built-in is made again."""
    path = settings.data_dir / "datasets" / dataset / f"{digest}.parquet"
    if path.exists() and dataset in BUILT_IN and not reviews.find(path):
        prepare(fetch(dataset, settings), settings)
    return path


def prepare(source: Source, settings: Settings, progress: Progress = no_progress) -> Prepared:
    """Make the checked canonical table of a source, or find the one made earlier.

    Found again by what the result depends on: the source's content, how it is read, and this code. A table that is
    gone or damaged is made again. Rejected rows of a user's table are kept with what is made of it.
    """
    folder = settings.data_dir / "datasets" / source.name
    note = folder / f".{_key(source)}.json"
    what = f"Another preparation of {source.name}"
    with file_lock(folder / ".lock", what, "preparation", patience=_PATIENCE):
        found = _noted(note, source)
        if found is None and note.exists():
            logger.warning("Damaged: %s. The reviews are prepared again.", note)
        if found and found.rejected and not Path(found.rejected.file).is_file():
            found = None  # its rejects were cleared away
        if found and reviews.find(found.table, source.digest):
            return found
        for leftover in folder.glob(f".*{PARTIAL}"):
            leftover.unlink()
        content, words, rows, read = _read(source, folder, progress)
        if _digest_now(source) != source.digest:
            raise changed(source.origin)
        beside = {name: [getattr(row, name) for row in rows] for name in ("place", "text", "origin") if rows}
        made = reviews.write(content, words, folder, source.digest, beside)
        prepared = Prepared(source.name, made.stem, made, source.origin, True, options=source.options)
        if read is not None:
            prepared = replace(prepared, rejected=read.rejected, left_out=read.left_out, joined=read.joined)
        noted = _NOTE.dump_json(prepared)
        publish(note, lambda path: path.write_bytes(_signature(noted) + b"\n" + noted))
    return prepared


_NOTE = TypeAdapter(Prepared)


def _digest_now(source: Source) -> str:
    if source.name in BUILT_IN:
        return inputs.digest_of(source.files)
    path = Path(source.origin)
    return inputs.digest_of(inputs.find_tables(path, source.options.text_labels()).files, path)


def _read(
    source: Source, folder: Path, progress: Progress
) -> tuple[Reviews, Vocabulary, Sequence[Labelled], Table | None]:
    """The reviews of a source and their words; of a user's table also its rows, in that order, and the table."""
    if source.name == "imdb":
        if inputs.digest_of(source.files) != source.digest:  # nothing else may be unpickled
            raise changed(source.origin)
        content, words = imdb.load(*source.files)
        imdb.check(content, words)
        return content, words, (), None
    if source.name == "sample":
        return *division.to_reviews(division.sample_rows()), (), None
    read = table.read_table(Path(source.origin), source.options, folder / "rejects", progress)
    rows = in_fixed_order(read.rows)
    content, words = division.to_reviews(rows, base.base().scorer.vocabulary.words)
    if told := reviews.changed_sides(content, folder):
        logger.warning("%s", told)
    return content, words, rows, read


def _noted(note: Path, source: Source) -> Prepared | None:
    """What a note says, unless it is gone or is not as it was written."""
    if not note.exists():
        return None
    signature, _, noted = note.read_bytes().partition(b"\n")
    if signature != _signature(noted):
        return None
    try:
        found = _NOTE.validate_json(noted)
    except ValueError:  # of other code
        return None
    return replace(found, table=note.with_name(f"{found.digest}.parquet"), origin=source.origin, made=False)


def _signature(noted: bytes) -> bytes:
    return hashlib.sha256(noted).hexdigest().encode()


def _key(source: Source) -> str:
    parts = f"{source.name} {source.digest} {source.options.model_dump_json()} {source.unread} {_code_version()}"
    return hashlib.sha256(parts.encode(errors="surrogateescape")).hexdigest()[:16]


@cache
def _code_version() -> str:
    """Digest of the code that decides what a table holds; any edit of it makes the tables again."""
    modules = (division, files, imdb, inputs, packed, parquet, readers, reviews, rows, table, vocabulary)
    return inputs.digest_of([*(Path(str(module.__file__)) for module in modules), base.FILE, division.SAMPLE])


def check_data(
    dataset: str, settings: Settings, options: TableOptions = DEFAULT_OPTIONS, progress: Progress = no_progress
) -> None:
    """Prepare a user's table; of a built-in dataset check that it can be asked for."""
    if dataset in BUILT_IN:
        _check_built_in(dataset, settings, options)
        return
    prepare(fetch(dataset, settings, progress, options), settings, progress)


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class SplitFacts:
    """Figures of one split."""

    name: str
    reviews: int
    positive: float  # fraction of label 1
    quantiles: tuple[int, ...]  # lengths in ids at ``QUANTILES``
    mean_length: float  # in ids
    truncated: float  # fraction longer than the recipe's sequence length
    unknown: float  # fraction of words out of the recipe's vocabulary
    shape: tuple[int, int]  # of the split once padded


@dataclass(frozen=True)
class DatasetFacts:
    """Figures of a dataset under a recipe, of splits that have reviews; ``words`` counts the whole vocabulary."""

    splits: tuple[SplitFacts, ...]
    in_both: int  # test reviews whose ids stand in the training split, too
    words: int
    training_words: int  # those that the training split has
    kept_words: int  # those of them that the recipe keeps
    first_ids: tuple[int, ...]  # of the first training review, rare words replaced
    first_text: str  # the same, decoded; ``?`` for the start marker and for rare words
    first_label: int  # 0 or 1
    label_names: tuple[str, str]  # what the source calls 0 and 1


def describe(content: Reviews, vocabulary: Vocabulary, vocabulary_size: int, sequence_length: int) -> DatasetFacts:
    """Gather the figures of a dataset as a recipe would see it."""
    train = content.of("train")
    ids = limit(train.tokens[0], vocabulary_size)
    held = np.unique(np.concatenate(train.tokens))
    held = held[held >= FIRST_WORD]
    return DatasetFacts(
        splits=tuple(
            _split(name, content.of(name), vocabulary_size, sequence_length)
            for name in reviews.SPLITS
            if name in content.split
        ),
        in_both=reviews.in_both_splits(content),
        words=len(vocabulary),
        training_words=len(held),
        kept_words=int((held < vocabulary_size).sum()),
        first_ids=tuple(int(i) for i in ids),
        first_text=vocabulary.decode(ids),
        first_label=int(train.label[0]),
        label_names=content.label_names,
    )


def _split(name: str, split: Reviews, vocabulary_size: int, sequence_length: int) -> SplitFacts:
    lengths = split.n_tokens
    flat = limit(np.concatenate(split.tokens), vocabulary_size)
    return SplitFacts(
        name=name,
        reviews=len(split),
        positive=float(split.label.mean()),
        quantiles=tuple(int(q) for q in np.quantile(lengths, QUANTILES, method="nearest")),
        mean_length=float(lengths.mean()),
        truncated=float((lengths > sequence_length).mean()),
        unknown=float((flat == OUT_OF_VOCABULARY).sum() / max(len(flat) - len(split), 1)),  # without start markers
        shape=(len(split), sequence_length),
    )
