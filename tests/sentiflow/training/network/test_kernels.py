"""Tests of the compiled tanh; the kernels around it are tested through ``Recurrence``."""

import numpy as np
import pytest

from sentiflow.training.network import kernels


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
