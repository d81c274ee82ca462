"""Functions compiled by numba, kept on disk for the next process: damaged files are noticed, and made again."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

from sentiflow.errors import first_line
from sentiflow.files import publish

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "arcp", "nsz"}}
_OTHERS_WRITE = 0o022  # the group, or everybody

_logger = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the result: beside the function's file, or in the user's cache folder.

    Rows are copied and added up element by element in what is compiled here: the same with whole arrays takes
    seconds to compile.
    """
    made: Any = njit(function, **_OPTIONS)
    if hasattr(made, "py_func"):  # else numba was told to compile nothing
        try:
            made._cache = _CheckedCache(function)  # noqa: SLF001 - where numba's `cache=True` sets its own
        except (RuntimeError, OSError) as err:  # no folder can be written, or it is another user's
            _warn(f"Each process compiles for itself, as compiled code cannot be kept on disk: {first_line(err)}.")
    return made  # type: ignore[no-any-return]


class _CheckedCache(FunctionCache):  # type: ignore[misc]
    """numba's cache, with SHA-256 of its files beside them: it checks none itself.

    What a loss of power or a bad disk leaves would fail each training, or compute something else. The files hold
    pickles, so that who can write them can run code.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._folder, self._base = Path(self.cache_path), self._impl.filename_base
        self._sums = self._folder / f"{self._base}.sha256"
        if self._folder.parent != Path(function.__code__.co_filename).parent:  # not beside the code
            self._need_own()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Give what was compiled for these types; None if there is none, or a file of it is damaged."""
        try:
            if digests(self._files()) != (self._sums.read_bytes() if self._sums.exists() else b""):
                self._drop()
            return super().load_overload(sig, target_context)
        except OSError:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        try:
            super().save_overload(sig, data)
            publish(self._sums, lambda path: path.write_bytes(digests(self._files())))
        except OSError as err:
            _warn(f"Compiled code cannot be kept in {self._folder}: {err.strerror}.")

    def _files(self) -> Iterator[Path]:
        yield from self._folder.glob(f"{self._base}.*nb[ic]")

    def _drop(self) -> None:
        _warn(f"Compiled code in {self._folder} is damaged: it is compiled again.")
        for file in (*self._files(), self._sums):
            file.unlink(missing_ok=True)  # another process may do the same

    def _need_own(self) -> None:
        """Let nobody else write into the folder; what others may have written is not read."""
        about = self._folder.stat()
        if about.st_uid != os.getuid():
            raise RuntimeError(f"{self._folder} belongs to another user")
        if about.st_mode & _OTHERS_WRITE:
            self._folder.chmod(about.st_mode & ~_OTHERS_WRITE)
            for file in self._folder.glob("*.nb[ic]"):
                file.unlink(missing_ok=True)


def digests(files: Iterable[Path]) -> bytes:
    """A line a file, as ``sha256sum`` writes it."""
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    return "".join(sorted(lines)).encode()


@cache
def _warn(line: str) -> None:
    """Once a process: every function has files of its own."""
    _logger.warning(line)
