"""The IMDB reviews: download of the archive, a restricted reader of its pickles, conversion."""

import io
import json
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sentiflow.console import Progress, no_progress
from sentiflow.data.download import fetch_file
from sentiflow.data.reviews import Reviews
from sentiflow.errors import ExternalError, UnreachableError, UsageError
from sentiflow.scoring import START, Vocabulary
from sentiflow.scoring.vocabulary import FIRST_WORD, OFFSET
from sentiflow.settings import Settings

_MAX_SIZE = 1_000_000_000  # bytes of one array once unpacked; the largest of imdb.npz has 14 million


class _Rows:
    """What an object array's pickle becomes: its state, without numpy's own way to restore its memory."""

    def __init__(self, kind: str, _shape: object, _code: object) -> None:
        if kind != _NDARRAY:
            raise pickle.UnpicklingError("the pickle makes no plain array")
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def rows(self) -> list[list[int]]:
        """The items, checked once the pickle has ended: until then it can change them."""
        _version, shape, dtype, _fortran, rows = self.state
        if not isinstance(dtype, _ObjectType) or type(rows) is not list or shape != (len(rows),):
            raise ValueError("the pickle holds no plain list of rows")
        if not all(type(row) is list and set(map(type, row)) <= {int} for row in rows):
            raise ValueError("a row is no list of whole numbers")
        return rows


class _ObjectType:
    """The one dtype that such an array has."""

    def __init__(self, name: str, *_options: object) -> None:
        if name != "O8":
            raise pickle.UnpicklingError(f"the pickle asks for the dtype {name!r:.40}, which is not allowed")

    def __setstate__(self, _state: object) -> None:
        """Byte order and flags say nothing of an object."""


_NDARRAY = "numpy.ndarray"  # an argument of _reconstruct alone: it cannot be called

# All that an object array of lists of integers needs, and what stands for it here.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Rows,
    ("numpy._core.multiarray", "_reconstruct"): _Rows,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _ObjectType,
}


class _RowsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed")
        return _ALLOWED[module, name]


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read named arrays of an npz whose hash has been checked.

    Object arrays must hold lists of integers. Their pickles make no array: a hostile one could name any memory.

    Raises:
        ExternalError: the archive is damaged or too large, lacks an array, or holds a pickle of anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read(archive, f"{name}.npy") for name in names}
    except (
        OSError, LookupError, ValueError, TypeError, EOFError, AttributeError, OverflowError, MemoryError,
        RuntimeError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError,
    ) as err:  # fmt: skip
        raise ExternalError(
            f"Cannot read {path}: {str(err) or type(err).__name__}.",
            "The file is damaged or not the IMDB dataset: check SENTIFLOW_IMDB_URL and SENTIFLOW_IMDB_SHA256.",
        ) from err


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    if (size := archive.getinfo(name).file_size) > _MAX_SIZE:  # zipfile unpacks no more than it says
        raise ValueError(f"{name} has {size:,} bytes")
    content = archive.read(name)
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _shape, _fortran, dtype = read_header(stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(content), allow_pickle=False)  # type: ignore[no-any-return]
    loaded = _RowsOnly(stream).load()
    if not isinstance(loaded, _Rows):
        raise ValueError(f"expected an array, got {type(loaded).__name__}")
    rows = loaded.rows()
    if sum(map(len, rows)) > len(content):  # each number takes a byte or more, unless rows are repeated
        raise ValueError(f"{name} holds more numbers than bytes")
    return np.fromiter(rows, dtype=object, count=len(rows))


REVIEWS_PER_SPLIT = 25_000
SHUFFLE_SEED = 113  # `load_data`'s own: the order of the reviews, and so the validation split, depend on it

_FOLDER = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_REVIEWS_HASH = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
# Keras publishes an MD5 alone (bfafd718b763782e994055a2d397834f); this is the SHA-256 of the file that has it.
_WORD_INDEX_HASH = "027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6"


@dataclass(frozen=True)
class Address:
    """A file to fetch: where it is, and the SHA-256 that it must have."""

    name: str
    url: str
    sha256: str

    def target(self, data_dir: Path) -> Path:
        """Where the file is kept: a folder of its own, named by the hash, so that mirrors do not mix."""
        return data_dir / "downloads" / self.sha256[:16] / self.name


def addresses(settings: Settings) -> tuple[Address, Address]:
    """Addresses of the reviews and of the word index: Keras's own, or the mirrors in the settings."""
    words = settings.word_index_url, settings.word_index_sha256
    return (
        _address("imdb.npz", _REVIEWS_HASH, settings.imdb_url, settings.imdb_sha256, "IMDB"),
        _address("imdb_word_index.json", _WORD_INDEX_HASH, *words, "WORD_INDEX"),
    )


def _address(name: str, official: str, url: str | None, sha256: str | None, setting: str) -> Address:
    if url and not sha256:
        raise UsageError(
            f"SENTIFLOW_{setting}_URL is set without SENTIFLOW_{setting}_SHA256.",
            "A mirror is only used with its hash: set it, for example to what `sha256sum` prints.",
        )
    return Address(name, url or _FOLDER + name, sha256 or official)


def fetch(settings: Settings, progress: Progress = no_progress) -> tuple[list[Path], bool]:
    """Fetch the reviews and the word index into the data folder; gives both, and whether anything was fetched."""
    fetched = False
    files = []
    for address in addresses(settings):
        target = address.target(settings.data_dir)
        try:
            fetched |= fetch_file(
                address.url,
                address.sha256,
                target,
                timeout=settings.download_timeout,
                retries=settings.download_retries,
                progress=progress,
            )
        except UnreachableError as err:
            raise UnreachableError(
                str(err.args[0]),
                "Either point SENTIFLOW_IMDB_URL and SENTIFLOW_WORD_INDEX_URL (each with its ..._SHA256) at a "
                "mirror, or train on the built-in reviews: --dataset sample",
            ) from err
        files.append(target)
    return files, fetched


def load(reviews_file: Path, word_index_file: Path) -> tuple[Reviews, Vocabulary]:
    """Turn the two files into reviews in ``load_data``'s order, with every word's own id."""
    arrays = read_arrays(reviews_file, ("x_train", "y_train", "x_test", "y_test"))
    generator = np.random.RandomState(SHUFFLE_SEED)
    splits = [_split(split, arrays[f"x_{split}"], arrays[f"y_{split}"], generator) for split in ("train", "test")]
    reviews = Reviews(
        np.concatenate([part.review_id for part in splits]),
        np.concatenate([part.split for part in splits]),
        np.concatenate([part.label for part in splits]),
        [ids for part in splits for ids in part.tokens],
    )
    return reviews, _vocabulary(word_index_file)


def check(reviews: Reviews, vocabulary: Vocabulary) -> None:
    """Check that these are the published reviews, by their numbers and the range of their ids."""
    for split in ("train", "test"):
        labels = reviews.label[reviews.split == split]
        counts = [int((labels == label).sum()) for label in (0, 1)]
        if counts != [REVIEWS_PER_SPLIT // 2] * 2 or len(labels) != REVIEWS_PER_SPLIT:
            raise ExternalError(
                f"Dataset imdb, {split} split: expected {REVIEWS_PER_SPLIT:,} reviews, half of them positive; "
                f"got {counts[0]:,} negative and {counts[1]:,} positive.",
                "The source is not the published dataset; nothing was trained on it.",
            )
    words = np.concatenate([ids[1:] for ids in reviews.tokens])
    if reviews.n_tokens.min() < 2 or words.min() < FIRST_WORD or words.max() >= FIRST_WORD + len(vocabulary):
        raise ExternalError("Dataset imdb: expected words of the word index in each review; got others, or none.")


def _split(name: str, x: NDArray[Any], y: NDArray[Any], generator: np.random.RandomState) -> Reviews:
    if x.shape != y.shape or x.ndim != 1:
        raise ExternalError(f"IMDB {name} split: expected one label per review, got {x.shape} and {y.shape}.")
    order = np.arange(len(x))
    generator.shuffle(order)
    try:
        tokens = [
            np.concatenate([[START], np.asarray(x[i], dtype=np.int64) + OFFSET]).astype(np.int32) for i in order
        ]
        label = y[order].astype(np.int8)
    except (TypeError, ValueError, OverflowError) as err:
        raise ExternalError(f"IMDB {name} split: expected lists of word ranks: {err}.") from err
    return Reviews(np.array([f"{name}-{i}" for i in range(len(x))]), np.full(len(x), name), label, tokens)


def _vocabulary(path: Path) -> Vocabulary:
    try:
        index: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
        words = sorted(index, key=index.__getitem__)
        if [index[word] for word in words] != list(range(1, len(words) + 1)):
            raise ValueError("expected each rank from 1 on once")
    except (OSError, ValueError, AttributeError, TypeError) as err:
        raise ExternalError(
            f"Cannot read the word index {path}: {err}.",
            "Check SENTIFLOW_WORD_INDEX_URL and SENTIFLOW_WORD_INDEX_SHA256.",
        ) from err
    return Vocabulary(words)
