"""The IMDB reviews (Maas et al., ACL 2011) in the form that ``keras.datasets.imdb`` publishes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.data.archive import read_arrays
from sentiment.data.download import fetch_file
from sentiment.data.reviews import Reviews
from sentiment.errors import UnreachableError, UsageError, WorldError
from sentiment.progress import Progress, no_progress
from sentiment.scoring import START, Vocabulary
from sentiment.scoring.vocabulary import OFFSET
from sentiment.settings import Settings

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
    """Addresses of the reviews and of the word index: Keras's own, or the mirrors in the settings.

    Raises:
        UsageError: a mirror is set without its SHA-256.
    """
    return (
        _address("imdb.npz", _REVIEWS_HASH, settings.imdb_url, settings.imdb_sha256, "IMDB"),
        _address(
            "imdb_word_index.json",
            _WORD_INDEX_HASH,
            settings.word_index_url,
            settings.word_index_sha256,
            "WORD_INDEX",
        ),
    )


def _address(name: str, official: str, url: str | None, sha256: str | None, setting: str) -> Address:
    if url and not sha256:
        raise UsageError(
            f"SENTIFLOW_{setting}_URL is set without SENTIFLOW_{setting}_SHA256.",
            "A mirror is only used with its hash: set it, for example to what `sha256sum` prints.",
        )
    return Address(name, url or _FOLDER + name, sha256 or official)


def fetch(settings: Settings, progress: Progress = no_progress) -> tuple[list[Path], bool]:
    """Fetch the reviews and the word index into the data folder.

    Returns:
        Both files, and whether anything had to be fetched.

    Raises:
        UnreachableError: an address does not answer; the hint names both ways out.
        WorldError: a file has another hash.
        UsageError: a mirror is set without its hash.
    """
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
    """Turn the two files into reviews in ``load_data``'s order, with every word's own id.

    Raises:
        WorldError: a file is damaged, hostile, or not what it should be.
    """
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


def _split(name: str, x: NDArray[Any], y: NDArray[Any], generator: np.random.RandomState) -> Reviews:
    if x.shape != y.shape or x.ndim != 1:
        raise WorldError(f"IMDB {name} split: expected a label a review, got {x.shape} and {y.shape}.")
    order = np.arange(len(x))
    generator.shuffle(order)
    try:
        tokens = [
            np.concatenate([[START], np.asarray(x[i], dtype=np.int64) + OFFSET]).astype(np.int32) for i in order
        ]
        label = y[order].astype(np.int8)
    except (TypeError, ValueError, OverflowError) as err:
        raise WorldError(f"IMDB {name} split: expected lists of word ranks: {err}.") from err
    return Reviews(np.array([f"{name}-{i}" for i in range(len(x))]), np.full(len(x), name), label, tokens)


def _vocabulary(path: Path) -> Vocabulary:
    try:
        index: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
        words = sorted(index, key=index.__getitem__)
        if [index[word] for word in words] != list(range(1, len(words) + 1)):
            raise ValueError("expected each rank from 1 on once")
    except (OSError, ValueError, AttributeError, TypeError) as err:
        raise WorldError(
            f"Cannot read the word index {path}: {err}.",
            "Check SENTIFLOW_WORD_INDEX_URL and SENTIFLOW_WORD_INDEX_SHA256.",
        ) from err
    return Vocabulary(words)
