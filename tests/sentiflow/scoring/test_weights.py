"""Tests of the trained arrays and of their file."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from sentiflow.scoring import Weights
from tests.sentiflow.scoring.test_forward import ARRAYS, BACKWARD, every_kind, random_weights

BOTH_WAYS = random_weights(mask_zero=True, both_ways=True)


@every_kind
def test_weights_survive_save_and_load(tmp_path: Path, kind: dict[str, Any]) -> None:
    weights = random_weights(**kind)
    weights.save(tmp_path / "weights.npz")
    loaded = Weights.load(tmp_path / "weights.npz")
    assert len(loaded.members) == len(weights.members)
    for one, other in zip(loaded.members, weights.members, strict=True):
        for name in (field.name for field in fields(Weights) if field.name != "others"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


@pytest.mark.parametrize("name", ARRAYS + BACKWARD)
def test_an_array_of_a_wrong_shape_is_refused(name: str) -> None:
    wrong = np.zeros(tuple(size + 1 for size in getattr(BOTH_WAYS, name).shape), np.float32)
    with pytest.raises(ValueError, match="do not fit together"):
        replace(BOTH_WAYS, **{name: wrong})


@pytest.mark.parametrize("name", BACKWARD)
def test_a_way_back_without_one_of_its_arrays_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        replace(BOTH_WAYS, **{name: None})


@pytest.mark.parametrize("kind", [{"mean": True}, {"both_ways": True}])
def test_a_mean_or_a_way_back_over_padding_is_refused(kind: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="mask_zero must be set"):
        random_weights(**kind)


def test_arrays_of_another_type_are_refused() -> None:
    weights = random_weights()
    with pytest.raises(ValueError, match="float32"):
        replace(weights, bias=weights.bias.astype(np.float64))


def test_an_embedding_without_a_row_for_words_is_refused() -> None:
    weights = random_weights()
    replace(weights, embedding=weights.embedding[:3])
    with pytest.raises(ValueError, match="2 rows"):
        replace(weights, embedding=weights.embedding[:2])


@pytest.mark.parametrize("name", [*ARRAYS, "mask_zero", "pooling"])
def test_a_file_without_one_of_the_arrays_is_refused_by_name(tmp_path: Path, name: str) -> None:
    entries: dict[str, Any] = random_weights().entries()
    del entries[name]
    np.savez(tmp_path / "weights.npz", **entries)
    with pytest.raises(ValueError, match=rf"missing arrays \['{name}'\]"):
        Weights.load(tmp_path / "weights.npz")


def test_a_file_with_a_pickled_array_is_refused(tmp_path: Path) -> None:
    arrays = {name: getattr(random_weights(), name) for name in (*ARRAYS, "mask_zero")}
    np.savez(tmp_path / "weights.npz", **{**arrays, "bias": arrays["bias"].astype(object)})
    with pytest.raises(ValueError, match="bias has the type object"):
        Weights.load(tmp_path / "weights.npz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:200] + bytes([content[200] ^ 255]) + content[201:],
        lambda _content: b"",
    ],
    ids=["cut", "flipped", "empty"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "weights.npz"
    random_weights().save(file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"weights\.npz"):
        Weights.load(file)


def huge(path: Path) -> None:
    """An array whose header declares more than any memory."""
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (2**60,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("embedding.npy", stream.getvalue())


@pytest.mark.parametrize(
    "spoil",
    [
        huge,
        lambda path: np.savez(
            path, **{**random_weights().entries(), "mask_zero": False, "bias": np.full(5, np.nan, np.float32)}
        ),
        lambda path: np.savez(path, **{**random_weights().entries(), "mask_zero": np.array([True, False])}),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + b"[" * 1_000),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
    ],
    ids=["huge", "nan", "two masks", "deep header", "no archive"],
)
def test_a_file_that_was_made_to_break_its_reader_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="\\w"):
        Weights.load(tmp_path / "weights.npz")


def unknown(entries: dict[str, Any], path: Path) -> None:
    np.savez(path, **entries, zz=np.zeros(3))


def compressed(entries: dict[str, Any], path: Path) -> None:
    np.savez_compressed(path, **entries)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (unknown, "unknown array 'zz.npy'"),
        (compressed, "embedding.npy is compressed"),
    ],
)
def test_a_file_takes_no_more_memory_than_its_size(
    tmp_path: Path, make: Callable[[dict[str, Any], Path], None], why: str
) -> None:
    """Three megabytes of zeros, packed, took more than a gigabyte, whatever their name."""
    make(random_weights().entries(), tmp_path / "weights.npz")
    with pytest.raises(ValueError, match=why):
        Weights.load(tmp_path / "weights.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel", np.zeros((4, 5, 1), np.float32)),
        ("bias", np.zeros(5, np.int64)),
        ("bias", np.zeros(5, ">f4")),
        ("mask_zero", np.float32(1)),
        ("pooling", np.array(["last"])),
    ],
)
def test_an_array_is_refused_by_its_header(tmp_path: Path, name: str, value: Any) -> None:
    np.savez(tmp_path / "weights.npz", **{**random_weights().entries(), name: value})
    with pytest.raises(ValueError, match=f"{name} has the type"):
        Weights.load(tmp_path / "weights.npz")
