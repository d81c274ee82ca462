"""The trained arrays, and their file."""

import math
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .vocabulary import OUT_OF_VOCABULARY

Array = NDArray[np.float32]

LAST, MEAN = "last", "mean"

# Its bytes spell no name of an array: a scorer's digest, which is of names and bytes, is of one network alone.
_BOUND = 2.0**64

_BACKWARD = ("backward_kernel", "backward_recurrent_kernel", "backward_bias")


class Direction(NamedTuple):
    """The arrays of one recurrence; ``backwards`` begins with the last word."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array
    backwards: bool


@dataclass(frozen=True)
class Weights:
    """The trained arrays, float32, named as Keras names them."""

    embedding: Array  # (v, d)
    kernel: Array  # (d, u)
    recurrent_kernel: Array  # (u, u)
    bias: Array  # (u,)
    dense_kernel: Array  # (u, 1), with two directions (2 u, 1)
    dense_bias: Array  # (1,)
    mask_zero: bool = False  # zeros leave the state alone; without it they are read like any other word
    backward_kernel: Array | None = None  # of a second recurrence, which reads backwards; or all three None
    backward_recurrent_kernel: Array | None = None
    backward_bias: Array | None = None
    pooling: str = LAST  # what the last layer gets: the last state, or the mean of the states after each word
    others: tuple["Weights", ...] = ()  # they read the same ids; the score is the mean of all

    def __post_init__(self) -> None:
        arrays = [value for name in ARRAYS if (value := getattr(self, name)) is not None]
        if not all(array.dtype == np.float32 for array in arrays):
            raise ValueError("weights must be of the type float32")
        v, d = self.embedding.shape if self.embedding.ndim == 2 else (-1, -1)
        u = self.bias.size
        recurrence = [(d, u), (u, u), (u,)]
        backward = recurrence if any(getattr(self, name) is not None for name in _BACKWARD) else []
        expected = [(v, d), *recurrence, (2 * u if backward else u, 1), (1,), *backward]
        found = [array.shape for array in arrays]
        if found != expected:
            raise ValueError(f"weights do not fit together: expected shapes {expected}, got {found}")
        if v <= OUT_OF_VOCABULARY:
            raise ValueError(f"the embedding has {v} rows, and none for a word")
        if not all((np.abs(array) < _BOUND).all() for array in arrays):  # no NaN is below it
            raise ValueError(f"weights hold values that are no finite numbers below {_BOUND:.0e}")
        if self.pooling not in (LAST, MEAN):
            raise ValueError(f"pooling must be {LAST!r} or {MEAN!r}, got {self.pooling!r}")
        if (backward or self.pooling == MEAN) and not self.mask_zero:
            raise ValueError("a mean, or a second direction, is of words alone: mask_zero must be set")
        if any(len(other.embedding) != v or other.others for other in self.others):
            raise ValueError(f"each further network must know {v} words, and have none beside it")

    @property
    def size(self) -> int:
        """How many ids it has a row for."""
        return len(self.embedding)

    @property
    def parameters(self) -> int:
        return sum(each.size for each in self.entries().values() if each.dtype.kind == "f")

    @property
    def members(self) -> tuple["Weights", ...]:
        """All networks, this one first."""
        return self, *self.others

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The recurrence, and the one that reads backwards if there is one."""
        forward = Direction(self.kernel, self.recurrent_kernel, self.bias, backwards=False)
        if self.backward_kernel is None:
            return (forward,)
        return forward, Direction._make([*(getattr(self, name) for name in _BACKWARD), True])

    def entries(self) -> dict[str, NDArray[Any]]:
        """All arrays and settings by their names in a file; those of further networks after ``2/``, ``3/``, ..."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "others"}
        entries = {name: np.asarray(value) for name, value in own.items() if value is not None}
        for number, other in enumerate(self.others, start=2):
            entries |= {f"{number}/{name}": value for name, value in other.entries().items()}
        return entries

    def save(self, path: Path) -> None:
        """Write the arrays as an npz without pickles."""
        entries: dict[str, Any] = self.entries()
        np.savez(path, **entries)

    @classmethod
    def load(cls, path: Path) -> "Weights":
        """Read what ``save`` wrote.

        Raises:
            ValueError: the file is damaged, lacks an array, or holds one of the wrong shape.
        """
        found = read_arrays(path, (*ARRAYS, "mask_zero", "pooling"))
        try:
            return cls.of_entries(found)
        except KeyError as err:
            raise ValueError(f"{path}: missing arrays {err.args[0]}") from err

    @classmethod
    def of_entries(cls, found: Mapping[str, NDArray[Any]]) -> "Weights":
        """The weights whose ``entries`` these are."""
        numbers = {name.partition("/")[0] for name in found if "/" in name}
        prefixes = ["", *(f"{number}/" for number in range(2, 2 + len(numbers)))]
        missing = [prefix + name for prefix in prefixes for name in _REQUIRED if prefix + name not in found]
        if missing:
            raise KeyError(missing)
        return cls.together(cls._of(found, prefix) for prefix in prefixes)

    @classmethod
    def together(cls, members: Iterable["Weights"]) -> "Weights":
        """Single networks as one whose score is their mean."""
        first, *others = members
        return replace(first, others=tuple(others))

    @classmethod
    def _of(cls, found: Mapping[str, NDArray[Any]], prefix: str) -> "Weights":
        own: dict[str, Any] = {
            field.name: found[prefix + field.name] for field in fields(cls) if prefix + field.name in found
        }
        own["mask_zero"], own["pooling"] = bool(own["mask_zero"]), str(own["pooling"])
        return cls(**own)


ARRAYS = [field.name for field in fields(Weights) if field.name not in ("mask_zero", "pooling", "others")]
"""The arrays' names, in the order in which Keras's layers have them; the backward ones may be missing."""

_REQUIRED = [field.name for field in fields(Weights) if field.name not in (*_BACKWARD, "others")]

_DIMENSIONS = {
    "embedding": 2, "kernel": 2, "recurrent_kernel": 2, "bias": 1, "dense_kernel": 2, "dense_bias": 1,
    "ngram_keys": 1, "ngram_weights": 1,
}  # fmt: skip
_KINDS = {"mask_zero": "b", "pooling": "U", "ngram_keys": "i"}


def read_arrays(path: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Read an npz without pickles that holds these names alone, also after ``2/`` and further numbers.

    Raises:
        ValueError: the file is damaged, or holds another array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_all(archive, path.stat().st_size, names)
    except (
        ValueError, TypeError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
    ) as err:  # fmt: skip
        what = err if str(err) else type(err).__name__
        raise ValueError(f"{path}: damaged, or not the weights of a network: {what}") from err


def _read_all(archive: zipfile.ZipFile, size: int, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """All arrays, each looked at before it is read: together they take no more memory than the file has bytes."""
    members = archive.infolist()
    for member in members:
        number, _, own = member.filename.removesuffix(".npy").rpartition("/")
        known = own in names and (number.isdecimal() or not number)
        if not known or not member.filename.endswith(".npy"):
            raise ValueError(f"unknown array {member.filename!r:.60}")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its arrays are larger than the file")
    return {member.filename.removesuffix(".npy"): _read(archive, member) for member in members}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    name = member.filename.removesuffix(".npy").rpartition("/")[2]
    with archive.open(member) as stream:
        if npy.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is of an unknown format")
        shape, _, dtype = npy.read_array_header_1_0(stream)
        dimensions = _DIMENSIONS.get(name.removeprefix("backward_"), 0)
        # A digest is of an array's bytes: in the other order these are other numbers.
        if dtype.kind != _KINDS.get(name, "f") or not dtype.isnative or len(shape) != dimensions:
            raise ValueError(f"{name} has the type {dtype} and the shape {shape}")
        if stream.tell() + dtype.itemsize * math.prod(shape) != member.file_size:
            raise ValueError(f"{name} has another size than its shape {shape}")
    with archive.open(member) as stream:
        return npy.read_array(stream, allow_pickle=False)
