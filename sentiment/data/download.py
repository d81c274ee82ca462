"""Fetching one file, verified, so that it is there whole or not at all."""

import contextlib
import logging
import os
from pathlib import Path
from urllib.parse import unquote, urlparse

import pooch
import requests
from filelock import FileLock

from sentiment.errors import UnreachableError, WorldError
from sentiment.progress import Progress, no_progress

logger = logging.getLogger(__name__)

_CHUNK = 1 << 16


def fetch_file(
    url: str, known_hash: str, target: Path, *, timeout: float, retries: int, progress: Progress = no_progress
) -> bool:
    """Copy ``url`` to ``target`` unless it is there already with the right hash.

    Written to a temporary file beside the target, verified, then renamed, under a lock. The target's folder
    must be its own: leftovers of killed downloads in it are removed.

    Args:
        url: http(s) or file URL, or a path.
        known_hash: hexadecimal digits, with the algorithm in front (``sha256:...``).
        target: the file to make.
        timeout: seconds without an answer after which an attempt ends.
        retries: further attempts over http(s), some seconds apart.
        progress: shown while the file arrives.

    Returns:
        True when something was copied, False when the file was there.

    Raises:
        UnreachableError: the address does not answer or holds no such file.
        WorldError: what came has another hash; nothing is kept of it.
        OSError: the target's folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.exists() and pooch.hashes.hash_matches(target, known_hash):
            with contextlib.suppress(PermissionError):  # a folder that is read only is cleared by nobody
                os.utime(target)  # its last use: files that nothing used for long are cleared away
            return False
        _remove_leftovers(target)
        pooch.get_logger().setLevel("WARNING")  # its own lines would stand between ours
        local = _local_path(url)
        source = pooch.create(
            path=target.parent,
            base_url="",
            registry={target.name: known_hash},
            urls={target.name: url},
            retry_if_failed=0 if local else retries,
        )
        copy = _Copy(local, progress) if local else _Download(timeout, progress)
        try:
            source.fetch(target.name, downloader=copy)
        except requests.RequestException as err:
            raise UnreachableError(f"Cannot download {url}: {_reason(err)}.") from err
        except ValueError as err:
            raise WorldError(
                f"{url} is not the expected file: {_hashes(err)}",
                "Nothing of it was kept. Check the address and its hash in the settings.",
            ) from err
        return True


class _Download:
    """Fetch over http(s), with a progress bar that follows the bytes."""

    def __init__(self, timeout: float, progress: Progress) -> None:
        self.timeout, self.progress = timeout, progress

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        try:
            self._fetch(url, Path(output_file))
        except requests.RequestException as err:
            logger.warning("Download attempt failed: %s.", _reason(err))
            raise

    def _fetch(self, url: str, target: Path) -> None:
        with requests.get(url, stream=True, timeout=self.timeout) as response:
            response.raise_for_status()
            size = int(response.headers.get("content-length", 0))
            with (
                self.progress(f"downloading {Path(urlparse(url).path).name}", size) as advance,
                target.open("wb") as file,
            ):
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    advance(len(chunk))


class _Copy:
    """Copy a local file."""

    def __init__(self, source: Path, progress: Progress) -> None:
        self.source, self.progress = source, progress

    def __call__(self, _url: str, output_file: str, _pooch: object) -> None:
        try:
            reader = self.source.open("rb")
            size = self.source.stat().st_size
        except OSError as err:
            raise UnreachableError(f"Cannot read {self.source}: {err.strerror}.") from err
        with (
            reader,
            self.progress(f"copying {self.source.name}", size) as advance,
            Path(output_file).open("wb") as file,
        ):
            while chunk := reader.read(_CHUNK):
                file.write(chunk)
                advance(len(chunk))


def _local_path(url: str) -> Path | None:
    try:
        parts = urlparse(url)
    except ValueError as err:
        raise UnreachableError(f"{url} is no address: {err}.") from err
    if parts.scheme in ("http", "https"):
        return None
    return Path(unquote(parts.path) if parts.scheme == "file" else url).expanduser()


def _reason(err: requests.RequestException) -> str:
    if err.response is not None:
        return f"the server answered {err.response.status_code} {err.response.reason}"
    if isinstance(err, requests.Timeout):
        return "no answer in time"
    if isinstance(err, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off in the middle"
    if isinstance(err, requests.ConnectionError):
        return "no connection (is there a network?)"
    return str(err)


def _hashes(err: ValueError) -> str:
    """Pooch's message, which names both hashes, on one line."""
    return " ".join(str(err).split())


def _remove_leftovers(target: Path) -> None:
    """Delete what a killed download left; nobody else writes here while the lock is held."""
    for path in target.parent.iterdir():
        if path.is_file() and path != target and path.suffix != ".lock":
            path.unlink()
