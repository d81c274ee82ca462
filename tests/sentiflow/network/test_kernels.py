"""Tests of the compiled tanh; the kernels around it are tested through ``Recurrence``."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sentiflow.network import kernels


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


@pytest.mark.story
@pytest.mark.parametrize("damaged", ["*.nbi", "*.nb[ic]"])
def test_empty_files_of_compiled_code_are_made_again(tmp_path: Path, damaged: str) -> None:
    """Red if one that a loss of power left failed every later training."""
    code = "from sentiflow.network import kernels; import numpy; print(kernels.tanh(numpy.float32(0)))"
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, check=True
        )
        files = list(tmp_path.rglob(damaged))
        assert files and all(file.stat().st_size for file in files)
        for file in files:
            file.write_bytes(b"")
