"""Fetching one file, verified, so that it is there whole or not at all."""

import contextlib
import logging
import math
import os
import re
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlparse

import pooch
import requests

from sentiflow.console import Advance, Progress, no_progress
from sentiflow.errors import ExternalError, UnreachableError
from sentiflow.folder import expanded
from sentiflow.locks import file_lock
from sentiflow.redaction import redact

logger = logging.getLogger(__name__)

DEADLINE = 1_800.0  # seconds a file, retries included: imdb.npz at 10 kB a second
MAX_SIZE = 500_000_000  # bytes: thirty times imdb.npz

_CHUNK = 2**10  # bytes; the time is looked at with each


def fetch_file(
    url: str,
    sha256: str,
    target: Path,
    *,
    timeout: float,
    retries: int,
    progress: Progress = no_progress,
) -> bool:
    """Copy an http(s) or file URL, or a path, unless the target is there with the right hash (hexadecimal digits).

    Gives whether something was copied. Written to a temporary file beside the target, verified, then renamed,
    under a lock. Leftovers of killed downloads in the target's folder, which must be its own, are removed.

    An attempt ends after ``timeout`` seconds without an answer, all together after ``DEADLINE`` seconds. Over
    http(s) there are ``retries`` further attempts, some seconds apart.

    Raises:
        UnreachableError: the address does not answer, holds no such file, or sends it too slowly.
        ExternalError: what came is too large or has another hash; nothing is kept of it.
    """
    lock = target.with_name(f".{target.name}.lock")
    with file_lock(lock, f"Another download of {target.name}", "download", patience=DEADLINE, logger=logger):
        if target.exists() and pooch.hashes.hash_matches(target, sha256):
            with contextlib.suppress(OSError):  # a read-only folder is never cleared
                os.utime(target)  # its last use: files that nothing used for long are cleared away
            return False
        _remove_leftovers(target)
        pooch.get_logger().setLevel("WARNING")  # its own lines would stand between ours
        local = _local_path(url)
        source = pooch.create(
            path=target.parent,
            base_url="",
            registry={target.name: sha256},
            urls={target.name: url},
            retry_if_failed=0 if local else retries,
        )
        if local:
            copy = partial(_copy, local, progress)
        else:
            copy = partial(_download, timeout, time.monotonic() + DEADLINE, progress)
        # What libraries say of a failure may name the address, and Prefect stores it: it is left out.
        try:
            source.fetch(target.name, downloader=copy)
        except requests.RequestException as err:
            raise UnreachableError(f"Cannot download {redact(url)}: {_reason(err)}.") from None
        except ValueError as err:
            hashes = " ".join(str(err).split())  # both, on one line
            raise ExternalError(
                f"{redact(url)} is not the expected file: {hashes}",
                "The download was discarded. Check the address and its hash in the settings.",
            ) from None
        return True


def _download(
    timeout: float, until: float, progress: Progress, url: str, output_file: str, _pooch: object
) -> None:
    try:
        with requests.get(url, stream=True, timeout=timeout) as response:
            response.raise_for_status()
            length = response.headers.get("content-length", "")
            size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0  # it only moves a bar
            with progress(f"downloading {Path(urlparse(url).path).name}", size) as advance:
                _write(response.iter_content(_CHUNK), url, Path(output_file), advance, until)
    except requests.RequestException as err:
        logger.warning("Download attempt failed: %s.", _reason(err))
        raise


def _copy(source: Path, progress: Progress, url: str, output_file: str, _pooch: object) -> None:
    if source.exists() and not source.is_file():  # opening a pipe would wait for ever
        raise UnreachableError(f"Cannot read {source}: it is not a file.")
    try:
        reader = source.open("rb")
        size = source.stat().st_size
    except OSError as err:
        raise UnreachableError(f"Cannot read {source}: {err.strerror}.") from err
    with reader, progress(f"copying {source.name}", size) as advance:
        _write(iter(lambda: reader.read(_CHUNK), b""), url, Path(output_file), advance)


def _write(chunks: Iterable[bytes], url: str, target: Path, advance: Advance, until: float = math.inf) -> None:
    written = 0
    with target.open("wb") as file:
        for chunk in chunks:
            written += len(chunk)
            if written > MAX_SIZE:
                raise ExternalError(
                    f"{redact(url)} is not the expected file: it is larger than {MAX_SIZE:,} bytes.",
                    "The download was discarded. Check the address in the settings.",
                )
            if time.monotonic() >= until:
                raise UnreachableError(f"Cannot download {redact(url)}: it took longer than {DEADLINE:,.0f} s.")
            file.write(chunk)
            advance(len(chunk))


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


def _remove_leftovers(target: Path) -> None:
    """Delete what a killed download left; no other process writes here while the lock is held."""
    for path in target.parent.iterdir():
        if path.is_file() and path != target and path.suffix != ".lock":
            path.unlink()
