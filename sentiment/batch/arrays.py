"""Arrow arrays made from their bytes: ``pa.array`` and ``pa.scalar`` import pandas, a fifth of a second a run."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_NUMBERS = {np.dtype(np.int64): pa.int64(), np.dtype(np.int32): pa.int32(), np.dtype(np.float64): pa.float64()}


def numbers(values: NDArray[np.int64] | NDArray[np.int32] | NDArray[np.float64]) -> pa.Array:
    """An array of numbers, none missing."""
    content = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(_NUMBERS[values.dtype], len(values), [None, content])


def strings(values: Sequence[str | None]) -> pa.Array:
    """An array of texts, None where one is missing.

    Example:
        >>> strings(["é", None]).to_pylist()
        ['é', None]
    """
    encoded = [b"" if value is None else value.encode() for value in values]
    ends = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in encoded], out=ends[1:])
    there = np.packbits(np.array([value is not None for value in values], np.bool_), bitorder="little")
    buffers = [pa.py_buffer(there), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)
