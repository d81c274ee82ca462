"""Reading an npz of object arrays without running what a pickle may hide."""

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

# All that an object array of lists of integers needs. Every other global is a way to run code.
_ALLOWED = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype")}


class _NumpyOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed")
        return super().find_class(module, name)


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read named arrays of an npz whose hash has been checked.

    Object arrays are unpickled by an unpickler that knows numpy's arrays only.

    Raises:
        WorldError: the archive is damaged, lacks an array, or holds a pickle that asks for anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read(archive.read(f"{name}.npy")) for name in names}
    except (
        OSError, KeyError, ValueError, TypeError, EOFError, IndexError, AttributeError,
        zipfile.BadZipFile, zlib.error, pickle.UnpicklingError,
    ) as err:  # fmt: skip
        raise WorldError(
            f"Cannot read {path}: {err}.",
            "The file is damaged or not the IMDB dataset: check SENTIFLOW_IMDB_URL and SENTIFLOW_IMDB_SHA256.",
        ) from err


def _read(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _shape, _fortran, dtype = read_header(stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(content), allow_pickle=False)  # type: ignore[no-any-return]
    array = _NumpyOnly(stream).load()
    if not isinstance(array, np.ndarray):
        raise ValueError(f"expected an array, got {type(array).__name__}")
    return array
