"""Reading an npz of object arrays without running or building what a pickle asks for."""

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sentiment.errors import WorldError

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
        WorldError: the archive is damaged or too large, lacks an array, or holds a pickle of anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read(archive, f"{name}.npy") for name in names}
    except (
        OSError, KeyError, ValueError, TypeError, EOFError, IndexError, AttributeError, NotImplementedError,
        OverflowError, MemoryError, RecursionError, RuntimeError, zipfile.BadZipFile, zlib.error,
        pickle.UnpicklingError,
    ) as err:  # fmt: skip
        raise WorldError(
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
