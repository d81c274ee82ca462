"""The IMDB reviews: their files, fetched whole and verified before anything is read of them."""

import contextlib
import json
import logging
import os
import pickle
import re
import shutil
import time
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pooch
import requests
from numpy.typing import NDArray

from sentiflow.console import Progress, no_progress
from sentiflow.data.reviews import Reviews
from sentiflow.environment import expanded
from sentiflow.errors import ExternalError, UnreachableError, UsageError
from sentiflow.locks import file_lock
from sentiflow.redaction import redact
from sentiflow.scoring import START, Vocabulary
from sentiflow.scoring.vocabulary import FIRST_WORD, OFFSET
from sentiflow.settings import Settings

logger = logging.getLogger(__name__)

DEADLINE = 1_800.0  # seconds a file, retries included: imdb.npz at 10 kB a second
MAX_SIZE = 500_000_000  # bytes: thirty times imdb.npz
_CHUNK = 2**10  # bytes; the time is looked at with each

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
        hint = "A mirror is only used with its hash: set it, for example to what `sha256sum` prints."
        raise UsageError(f"SENTIFLOW_{setting}_URL is set without SENTIFLOW_{setting}_SHA256.", hint)
    return Address(name, url or _FOLDER + name, sha256 or official)


def fetch(settings: Settings, progress: Progress = no_progress) -> tuple[list[Path], bool]:
    """Fetch the reviews and the word index into the data folder; gives both, and whether anything was fetched."""
    files, fetched = [], False
    limits: dict[str, Any] = {"timeout": settings.download_timeout, "retries": settings.download_retries}
    for address in addresses(settings):
        files.append(address.target(settings.data_dir))
        try:
            fetched |= fetch_file(address.url, address.sha256, files[-1], progress=progress, **limits)
        except UnreachableError as err:
            raise UnreachableError(
                str(err.args[0]),
                "Either point SENTIFLOW_IMDB_URL and SENTIFLOW_WORD_INDEX_URL (each with its ..._SHA256) at a "
                "mirror, or train on the built-in reviews: --dataset sample",
            ) from err
    return files, fetched


def fetch_file(
    url: str, sha256: str, target: Path, *, timeout: float, retries: int, progress: Progress = no_progress
) -> bool:
    """Copy an http(s) or file URL, or a path, unless the target, in a folder of its own, has the right hash.

    Gives whether it did. An attempt ends after ``timeout`` seconds without an answer, all together
    after ``DEADLINE`` seconds; over http(s) there are ``retries`` further ones. Nothing is kept of what is too
    large or has another hash.
    """
    lock = target.with_name(f".{target.name}.lock")
    with file_lock(lock, f"Another download of {target.name}", "download", patience=DEADLINE):
        if target.exists() and pooch.hashes.hash_matches(target, sha256):
            with contextlib.suppress(OSError):  # of a read-only folder, which is never cleared
                os.utime(target)  # its last use
            return False
        for path in target.parent.iterdir():  # what a killed download left
            if path.is_file() and path != target and path.suffix != ".lock":
                path.unlink()
        pooch.get_logger().setLevel("WARNING")  # its own lines would stand between ours
        local = _local_path(url)
        registry, urls, retry = {target.name: sha256}, {target.name: url}, 0 if local else retries
        source = pooch.create(target.parent, base_url="", registry=registry, urls=urls, retry_if_failed=retry)
        until = time.monotonic() + DEADLINE
        copy = partial(_copy, local) if local else partial(_download, timeout, until, progress)
        # What libraries say of a failure may name the address, and Prefect stores it: it is left out.
        try:
            source.fetch(target.name, downloader=copy)
        except requests.RequestException as err:
            raise UnreachableError(f"Cannot download {redact(url)}: {_reason(err)}.") from None
        except ValueError as err:
            hashes = " ".join(str(err).split())  # both, on one line
            hint = "The download was discarded. Check the address and its hash in the settings."
            raise ExternalError(f"{redact(url)} is not the expected file: {hashes}", hint) from None
        return True


def _download(timeout: float, until: float, progress: Progress, url: str, output_file: str, _: object) -> None:
    try:
        with requests.get(url, stream=True, timeout=timeout) as response:
            response.raise_for_status()
            length = response.headers.get("content-length", "")
            size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0  # it only moves a bar
            name = Path(urlparse(url).path).name
            with progress(f"downloading {name}", size) as advance, Path(output_file).open("wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    if file.tell() + len(chunk) > MAX_SIZE or time.monotonic() >= until:
                        limits = f"{MAX_SIZE:,} bytes or {DEADLINE:,.0f} s"
                        raise UnreachableError(f"Cannot download {redact(url)}: it takes more than {limits}.")
                    file.write(chunk)
                    advance(len(chunk))
    except requests.RequestException as err:
        logger.warning("Download attempt failed: %s.", _reason(err))
        raise


def _copy(source: Path, _url: str, output_file: str, _: object) -> None:
    if not source.is_file():  # opening a pipe would wait for ever
        raise UnreachableError(f"There is no file {source}.")
    shutil.copyfile(source, output_file)


def _local_path(url: str) -> Path | None:
    try:
        parts = urlparse(url)
    except ValueError:
        raise UnreachableError(f"{redact(url)} is not an address.") from None
    if parts.scheme in ("http", "https"):
        return None
    return expanded(unquote(parts.path) if parts.scheme == "file" else url)


def _reason(err: requests.RequestException) -> str:
    if err.response is not None:
        return f"the server answered {err.response.status_code} {err.response.reason}"
    if isinstance(err, requests.Timeout):
        return "no answer in time"
    if isinstance(err, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off in the middle"
    if isinstance(err, requests.ConnectionError):
        return "no connection (is there a network?)"
    return redact(str(err))


# What reading a file raises that is not what it should be.
_DAMAGE = (
    OSError, LookupError, ValueError, TypeError, OverflowError, AttributeError, EOFError,
    zipfile.BadZipFile, zlib.error, pickle.UnpicklingError,
)  # fmt: skip


def load(reviews_file: Path, word_index_file: Path) -> tuple[Reviews, Vocabulary]:
    """Turn the two files into reviews in ``load_data``'s order, with every word's own id.

    The reviews are pickled, and pickles run code: only files whose hashes have been checked are read.
    """
    generator = np.random.RandomState(SHUFFLE_SEED)
    try:
        with np.load(reviews_file, allow_pickle=True) as arrays:
            train, test = (
                _split(name, arrays[f"x_{name}"], arrays[f"y_{name}"], generator) for name in ("train", "test")
            )
        return train.joined(test), _vocabulary(word_index_file)
    except _DAMAGE as err:
        raise ExternalError(
            f"Cannot read {reviews_file} and {word_index_file}: {str(err) or type(err).__name__}.",
            "A file is damaged or not of the IMDB dataset: check SENTIFLOW_IMDB_URL and SENTIFLOW_IMDB_SHA256, or "
            "those of the word index.",
        ) from err


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
        raise ValueError(f"{name} split: expected one label per review, got {x.shape} and {y.shape}")
    order = np.arange(len(x))
    generator.shuffle(order)
    tokens = [np.concatenate([[START], np.asarray(x[i], np.int64) + OFFSET]).astype(np.int32) for i in order]
    names = np.array([f"{name}-{i}" for i in range(len(x))])
    return Reviews(names, np.full(len(x), name), y[order].astype(np.int8), tokens)


def _vocabulary(path: Path) -> Vocabulary:
    index: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    words = sorted(index, key=index.__getitem__)
    if [index[word] for word in words] != list(range(1, len(words) + 1)):
        raise ValueError("expected each rank of a word from 1 on once")
    return Vocabulary(words)
