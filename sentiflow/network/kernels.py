"""The recurrence and its gradients, step by step, compiled by numba.

Shapes: n reviews of one slice, t steps, v words, u units. ``states[s]`` are the states before step s, so that
``states[t]`` are the last. Reviews stand in ``order``, the longest first; ``first`` is the step at which the
padding of each ends, so that those still in their padding are the last rows of a step and are left out.

The compiler may contract and reorder sums, always in the same way; it may not assume that no NaN occurs, as a
diverging training must be seen to diverge.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 - the products' BLAS, loaded before anyone limits its threads
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "arcp", "nsz"}}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the result on disk: beside this file, or in the user's cache folder."""
    try:
        made: Any = njit(function, cache=True, **_OPTIONS)
    except RuntimeError:  # numba finds neither folder writable: each process then compiles for itself
        return njit(function, **_OPTIONS)  # type: ignore[no-any-return]
    if hasattr(made, "stats"):  # it is compiled: NUMBA_DISABLE_JIT may be set
        _drop_empty(Path(made.stats.cache_path), function.__name__)
    return made  # type: ignore[no-any-return]


def _drop_empty(folder: Path, name: str) -> None:
    """Remove a kernel's empty files: a loss of power leaves such, and numba would fail on them each time."""
    for file in folder.glob(f"kernels.{name}-*.nb[ic]"):
        with suppress(FileNotFoundError):  # another process removed it
            if not file.stat().st_size:
                file.unlink()


# Rational approximation of tanh in float32, odd polynomial over even one, highest power first: the one of Eigen
# (Eigen/src/Core/MathFunctionsImpl.h), which TensorFlow computes with. Beyond the limit float32 says 1.
_ODD = tuple(
    np.float32(c)
    for c in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
_EVEN = tuple(
    np.float32(c) for c in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)
_LIMIT = np.float32(7.90531110763549805)
_ONE = np.float32(1)


@_compiled
def tanh(x: np.float32) -> np.float32:
    """Hyperbolic tangent within 3e-7, without a branch or a call, so that a loop of it becomes vector code."""
    x = _LIMIT if x > _LIMIT else x
    x = -_LIMIT if x < -_LIMIT else x
    square = x * x
    odd = _ODD[0]
    for c in _ODD[1:]:
        odd = odd * square + c
    even = _EVEN[0]
    for c in _EVEN[1:]:
        even = even * square + c
    return x * odd / even


@_compiled
def read_pads(pad_input: Array, recurrent: Array, pads: Array) -> None:
    """Fill ``pads`` (t + 1, u): the states after 0, 1, 2, ... steps of padding, from a state of zeros."""
    pads[0] = 0
    for s in range(len(pads) - 1):
        state = np.dot(pads[s], recurrent)
        for j in range(len(pad_input)):
            pads[s + 1, j] = tanh(state[j] + pad_input[j])


@_compiled
def read(
    ids: Array, order: Array, first: Array, inputs: Array, recurrent: Array, pads: Array, states: Array
) -> None:
    """Fill ``states`` (t + 1, n, u): each review joins with the state of ``pads`` where its padding ends.

    ``ids`` (all reviews, t) holds rows of ``inputs`` (v, u), which must exist: nothing is checked here.
    """
    steps, units = ids.shape[1], len(recurrent)
    begun = 0
    for s in range(steps + 1):
        while begun < len(order) and first[begun] <= s:
            states[s, begun] = pads[s]
            begun += 1
        if begun == 0 or s == steps:
            continue
        after = states[s + 1, :begun]
        np.dot(states[s, :begun], recurrent, after)
        for r in range(begun):
            word = ids[order[r], s]
            for j in range(units):
                after[r, j] = tanh(after[r, j] + inputs[word, j])


@_compiled
def add_up(first: Array, states: Array, sums: Array) -> None:
    """Fill ``sums`` (n, u): all states of each review, from the one after its first word on."""
    sums[:] = 0
    begun = 0
    for s in range(len(states) - 1):
        while begun < len(first) and first[begun] <= s:
            begun += 1
        for r in range(begun):
            for j in range(sums.shape[1]):
                sums[r, j] += states[s + 1, r, j]


@_compiled
def gradients(
    ids: Array,
    order: Array,
    first: Array,
    transposed: Array,
    states: Array,
    d_states: Array,
    d_each: Array,
    d_inputs: Array,
    d_recurrent: Array,
    d_pads: Array,
) -> None:
    """Walk the steps backwards and add each one's share to ``d_inputs``, ``d_recurrent`` and ``d_pads``.

    ``transposed`` is the recurrent kernel's transpose; ``d_states`` (n, u), the loss by the last states, is used
    up. ``d_each`` (n, u) is what a mean adds to the loss by every state after a word; without a mean (0, u).
    """
    steps, units = ids.shape[1], len(transposed)
    d_sums = np.empty_like(d_states)  # the loss by what goes into tanh
    share = np.empty_like(transposed)
    begun = len(order)
    for s in range(steps, -1, -1):
        if s < steps and begun:
            if len(d_each):
                for r in range(begun):
                    for j in range(units):
                        d_states[r, j] += d_each[r, j]
            for r in range(begun):
                word = ids[order[r], s]
                for j in range(units):
                    after = states[s + 1, r, j]
                    d_sums[r, j] = d_states[r, j] * (_ONE - after * after)
                    d_inputs[word, j] += d_sums[r, j]
            np.dot(states[s, :begun].T, d_sums[:begun], share)
            d_recurrent += share
            np.dot(d_sums[:begun], transposed, d_states[:begun])
        while begun and first[begun - 1] == s:
            begun -= 1
            d_pads[s] += d_states[begun]


@_compiled
def pad_gradients(pads: Array, transposed: Array, d_pads: Array, d_pad_input: Array, d_recurrent: Array) -> None:
    """Walk the padding's own steps backwards, and add to ``d_pad_input`` (u,) and ``d_recurrent`` (u, u)."""
    units = len(transposed)
    d_state = np.zeros_like(d_pad_input)
    d_sum = np.empty_like(d_pad_input)
    for s in range(len(pads) - 2, -1, -1):
        for j in range(units):
            d_sum[j] = (d_state[j] + d_pads[s + 1, j]) * (_ONE - pads[s + 1, j] * pads[s + 1, j])
            d_pad_input[j] += d_sum[j]
        for i in range(units):
            for j in range(units):
                d_recurrent[i, j] += pads[s, i] * d_sum[j]
        d_state = np.dot(d_sum, transposed)
