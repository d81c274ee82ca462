"""Tests of reading arrays without running what a pickle may hide."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from sentiflow.data.imdb import read_arrays
from sentiflow.errors import ExternalError


class Hostile:
    """Makes a folder as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def lists(*items: object) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def archive_of(path: Path, **pickles: bytes) -> Path:
    """An npz whose members are object arrays with the given pickles, as np.save would frame them."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in pickles.items():
            stream = io.BytesIO()
            npy.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (2,)})
            archive.writestr(f"{name}.npy", stream.getvalue() + content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_lists_and_plain_arrays_are_read(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", x=lists([1, 2], [3]), y=np.array([1, 0]))
    arrays = read_arrays(tmp_path / "a.npz", ("x", "y"))
    assert {name: array.tolist() for name, array in arrays.items()} == {"x": [[1, 2], [3]], "y": [1, 0]}


@pytest.mark.parametrize("home", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_pickles_of_both_numpy_generations_are_read(tmp_path: Path, home: bytes) -> None:
    # Protocol 3 names a global as plain text that ends with the line, so that it can be exchanged here.
    content = pickle.dumps(lists([1, 2], [3]), protocol=3)
    names = (b"numpy._core.multiarray", b"numpy.core.multiarray")
    for name in names:
        content = content.replace(b"c" + name + b"\n", b"c" + home + b"\n")
    assert home + b"\n_reconstruct" in content
    path = archive_of(tmp_path / "a.npz", x=content)
    assert read_arrays(path, ("x",))["x"].tolist() == [[1, 2], [3]]


def test_a_hostile_pickle_is_refused_by_what_it_asks_for_and_does_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "hostile.npz", tmp_path / "marker"
    np.savez(path, x=lists([1], Hostile(marker)))
    with np.load(path, allow_pickle=True) as arrays:  # it is alive
        arrays["x"]
    marker.rmdir()
    with pytest.raises(ExternalError, match=r"asks for (posix|nt)\.mkdir, which is not allowed"):
        read_arrays(path, ("x",))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "os system",
        "numpy.core.multiarray fromfile",
        "numpy.core.multiarray scalar",
        "numpy load",
        "numpy.testing runstring",
    ],
)
def test_other_globals_are_refused_even_of_numpy(tmp_path: Path, name: str) -> None:
    content = b"c" + name.replace(" ", "\n").encode() + b"\n."
    with pytest.raises(ExternalError, match=f"asks for {name.replace(' ', '.')}, which is not allowed"):
        read_arrays(archive_of(tmp_path / "a.npz", x=content), ("x",))


def test_a_pickle_of_something_else_than_an_array_is_refused(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.npz", x=pickle.dumps([[1], [2]]))
    with pytest.raises(ExternalError, match="no attribute .rows."):
        read_arrays(path, ("x",))


# Pieces of protocol 0, in which a pickle can be written by hand.
NDARRAY, DTYPE, MAKE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy._core.multiarray\n_reconstruct\n"
OBJECT = DTYPE + b"(VO8\nI00\nI01\ntR"
EMPTY = MAKE + b"(" + NDARRAY + b"(I0\ntVb\ntR"
HUGE = b"8589934592"

BROKEN = {
    "an array over memory of the file's choice": NDARRAY + b"((I1\nt" + OBJECT + b"C\x08AAAAAAAAtR.",
    "an array of pointers by its state": EMPTY + b"(I1\n(I1\nt" + OBJECT + b"I00\nC\x08AAAAAAAAtb.",
    "an array whose shape is not its rows'": EMPTY + b"(I1\n(I9\nt" + OBJECT + b"I00\n(lp0\ntb.",
    "a huge array by its shape": EMPTY + b"(I1\n(I" + HUGE + b"\nt" + OBJECT + b"I00\n(lp0\ntb.",
    "a huge array made at once": MAKE + b"(" + NDARRAY + b"(I" + HUGE + b"\ntVb\ntR.",
    "an array of void": MAKE + b"(" + DTYPE + b"(VV" + HUGE + b"\ntRt.",
    "another dtype": EMPTY + b"(I1\n(I1\nt" + DTYPE + b"(Vi8\ntRI00\n(lp0\ntb.",
    "an array that was never filled": EMPTY + b".",
    "a row that is no list": EMPTY + b"(I1\n(I1\nt" + OBJECT + b"I00\n(lI7\natb.",
    "a number that is none": EMPTY + b"(I1\n(I1\nt" + OBJECT + b"I00\n(l(lF0.5\naatb.",
    "a row changed after it was shown": EMPTY + b"(I1\n(I1\nt" + OBJECT + b"I00\n(l(lp9\natbg9\n(la0.",
    "a text longer than any memory": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
    "rows repeated until they fill the memory": (
        EMPTY + b"(I1\n(I100\nt" + OBJECT + b"I00\n(l(l" + b"I1\na" * 99 + b"p9\na" + b"g9\na" * 99 + b"tb."
    ),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each of them is refused with, in a process of their own: where one can, it ends that process."""
    folder = tmp_path_factory.mktemp("broken")
    paths = {name: archive_of(folder / f"{k}.npz", x=content) for k, (name, content) in enumerate(BROKEN.items())}
    code = (
        "import sys; from pathlib import Path; from sentiflow.data.imdb import read_arrays\n"
        "from sentiflow.errors import ExternalError\n"
        "for path in sys.argv[1:]:\n"
        "    try: print([list(row) for row in read_arrays(Path(path), ('x',))['x']])\n"
        "    except ExternalError as err: print(str(err).splitlines()[0], flush=True)"
    )
    command = [sys.executable, "-c", code, *map(str, paths.values())]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told = dict(zip(BROKEN, ended.stdout.splitlines(), strict=False))  # those after one that ended it are missing
    return {name: told.get(name, ended.stderr).replace(str(path), "FILE") for name, path in paths.items()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_pickle_cannot_choose_memory(refusals: dict[str, str], name: str) -> None:
    assert refusals[name].startswith("Cannot read FILE: ")
    assert not refusals[name].startswith("Cannot read FILE: .")


def test_an_array_that_unpacks_to_more_than_the_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1_000_000))
    monkeypatch.setattr("sentiflow.data.imdb._MAX_ARRAY", 7_000_000)
    with pytest.raises(ExternalError, match=r"x\.npy has 8,000,128 bytes"):
        read_arrays(tmp_path / "a.npz", ("x",))
    monkeypatch.setattr("sentiflow.data.imdb._MAX_ARRAY", 8_000_128)
    assert len(read_arrays(tmp_path / "a.npz", ("x",))["x"]) == 1_000_000


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([1]))
    with pytest.raises(ExternalError, match=r"a\.npz: .*y\.npy"):
        read_arrays(tmp_path / "a.npz", ("x", "y"))


@pytest.mark.parametrize("kept", [0, 10, 100, 300, -1])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: int) -> None:
    np.savez(tmp_path / "a.npz", x=lists(list(range(100)), [3]))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:kept])
    with pytest.raises(ExternalError, match=r"Cannot read .*a\.npz"):
        read_arrays(tmp_path / "a.npz", ("x",))


@pytest.mark.parametrize("kept", [0, 1, 5, 20, 60])
def test_a_truncated_pickle_is_refused_with_the_settings_of_the_mirror(tmp_path: Path, kept: int) -> None:
    path = archive_of(tmp_path / "a.npz", x=pickle.dumps(lists([1, 2], [3]))[:kept])
    with pytest.raises(ExternalError, match=r"Cannot read .*a\.npz") as refused:
        read_arrays(path, ("x",))
    assert "SENTIFLOW_IMDB_SHA256" in refused.value.hint
