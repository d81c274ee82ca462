"""Compiled code that is kept on disk: found again, made again when its files are damaged; and tanh.

The kernels around it are tested through ``Recurrence``.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from sentiflow.training.network import kernels

SOURCE = "def double(x):\n    return x + x\n"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled code is kept; a folder below it has what was compiled."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Compile a function as a new process would."""
    (tmp_path / "doubling.py").write_text(SOURCE)
    about = importlib.util.spec_from_file_location("doubling", tmp_path / "doubling.py")
    assert about and about.loader

    def load() -> Any:
        module = importlib.util.module_from_spec(about)
        monkeypatch.setitem(sys.modules, "doubling", module)  # numba looks it up by name where it is not in use
        about.loader.exec_module(module)  # type: ignore[union-attr]
        return kernels.compiled(module.double)

    assert load()(21) == 42
    return load


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def test_what_one_process_compiled_the_next_one_finds(kept: Path, load: Callable[[], Any]) -> None:
    """Red if numba keeps its cache in another attribute: every process would compile for itself, unnoticed."""
    again = load()
    assert again(21) == 42 and hits(again) == 1
    assert [file.suffix for file in sorted(kept.rglob("*.*"))] == [".nbc", ".nbi"]


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[: len(content) // 3], lambda _content: b"", lambda content: bytes(len(content))],
    ids=["truncated", "empty", "zeros"],
)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_files_are_made_again_with_a_line(
    kept: Path,
    load: Callable[[], Any],
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    damage: Callable[[bytes], bytes],
) -> None:
    """Red if what a loss of power left failed every training."""
    (file,) = kept.rglob(f"*{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    again = load()
    assert again(21) == 42 and hits(again) == 0
    assert [line.split(" in ")[0] for line in caplog.messages] == ["Compiled code"]
    last = load()
    assert last(21) == 42 and hits(last) == 1


@pytest.mark.parametrize("scale", [1e-6, 0.1, 1, 5, 50])
def test_tanh_is_numpys_to_float32(scale: float) -> None:
    x = np.random.default_rng(1).normal(size=2_000).astype(np.float32) * np.float32(scale)
    ours = np.array([kernels.tanh(value) for value in x])
    np.testing.assert_allclose(ours, np.tanh(x.astype(np.float64)), rtol=3e-7, atol=3e-7 * min(1, scale))


def test_tanh_of_what_is_no_number_is_none() -> None:
    """Red if the compiler were allowed to assume that no NaN occurs: a diverged training would look sound."""
    assert np.isnan(kernels.tanh(np.float32(np.nan)))


@pytest.mark.parametrize("sign", [1, -1])
def test_tanh_of_infinity_is_one(sign: int) -> None:
    assert kernels.tanh(np.float32(sign * np.inf)) == pytest.approx(sign, abs=3e-7)
