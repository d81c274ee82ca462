"""The recurrence and its gradients, step by step, compiled by numba.

Shapes: n reviews of one slice, t steps, v words, u units. Reviews stand in ``order``, the longest first; ``first``
is the step at which the padding of each ends. ``states`` has the states before step 0, 1, ..., t one below the
other, without those of reviews still in their padding: its last n rows are the last states.

The compiler may contract and reorder sums, always in the same way; it may not assume that no NaN occurs, as a
diverging training must be seen to diverge.

What was compiled is kept on disk for the next process; files that cannot be read are made again.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 - the products' BLAS, loaded before anyone limits its threads
from numba import njit
from numba.core.caching import FunctionCache
from numpy.typing import NDArray

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "arcp", "nsz"}}

_logger = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the result: beside the function's file, or in the user's cache folder.

    Rows are copied and added up element by element in what is compiled here: the same with whole arrays takes
    seconds to compile.
    """
    made: Any = njit(function, **_OPTIONS)
    if hasattr(made, "py_func"):  # else numba was told to compile nothing
        try:
            made._cache = _Cache(function)  # noqa: SLF001 - where numba's `cache=True` sets its own
        except RuntimeError as err:  # no folder can be written
            _logger.warning("Each process compiles for itself: %s", err)
    return made  # type: ignore[no-any-return]


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's cache, but that a damaged file, as a loss of power leaves it, ends no training."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Give what was compiled for these types; None if there is none, or its files are damaged."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 - a pickle that was cut can raise anything
            _logger.warning("Compiled code in %s is damaged: it is compiled again.", self.cache_path)
            self.flush()
            return None


Array = NDArray[Any]

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

_BLOCK = 256  # rows of several steps in one product: many small ones take twice as long


@compiled
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


@compiled
def read_pads(pad_input: Array, recurrent: Array, pads: Array) -> None:
    """Fill ``pads`` (t + 1, u): the states after 0, 1, 2, ... steps of padding, from a state of zeros."""
    pads[0] = 0
    for s in range(len(pads) - 1):
        state = np.dot(pads[s], recurrent)
        for j in range(len(pad_input)):
            pads[s + 1, j] = tanh(state[j] + pad_input[j])


@compiled
def read(
    ids: Array,
    order: Array,
    first: Array,
    inputs: Array,
    bias: Array,
    recurrent: Array,
    pads: Array,
    states: Array,
) -> None:
    """Fill ``states`` (rows, u): each review joins with the state of ``pads`` where its padding ends.

    ``ids`` (all reviews, t) holds rows of ``inputs`` (v, u), which must exist: nothing is checked here.
    """
    steps, units = ids.shape[1], len(recurrent)
    begun = row = 0  # reviews of a step, and where their states begin
    for s in range(steps + 1):
        while begun < len(order) and first[begun] <= s:
            for j in range(units):
                states[row + begun, j] = pads[s, j]
            begun += 1
        if begun == 0 or s == steps:
            continue
        after = states[row + begun : row + 2 * begun]
        np.dot(states[row : row + begun], recurrent, after)
        for r in range(begun):
            word = ids[order[r], s]
            for j in range(units):
                after[r, j] = tanh(after[r, j] + (inputs[word, j] + bias[j]))
        row += begun


@compiled
def add_up(first: Array, steps: int, states: Array, sums: Array) -> None:
    """Fill ``sums`` (n, u): all states of each review, from the one after its first word on."""
    sums[:] = 0
    begun = row = 0
    for s in range(steps):
        while begun < len(first) and first[begun] <= s:
            begun += 1
        row += begun
        for r in range(begun):
            for j in range(sums.shape[1]):
                sums[r, j] += states[row + r, j]


@compiled
def gradients(
    ids: Array,
    order: Array,
    first: Array,
    transposed: Array,
    states: Array,
    d_states: Array,
    d_each: Array,
    d_inputs: Array,
    d_bias: Array,
    d_recurrent: Array,
    d_pads: Array,
) -> None:
    """Walk the steps backwards and add each one's share to the last four arguments.

    ``transposed`` is the recurrent kernel's transpose; ``d_states`` (n, u), the loss by the last states, is used
    up. ``d_each`` (n, u) is what a mean adds to the loss by every state after a word; without a mean (0, u).
    """
    steps, units = ids.shape[1], len(transposed)
    d_sums = np.empty((_BLOCK + len(order), units), np.float32)  # the loss by what goes into tanh, of some steps
    begun, row, top = len(order), len(states) - len(order), len(d_sums)
    for s in range(steps, -1, -1):
        full = False
        if s < steps:
            if len(d_each):
                for r in range(begun):
                    for j in range(units):
                        d_states[r, j] += d_each[r, j]
            top -= begun
            d_sum = d_sums[top : top + begun]
            for r in range(begun):
                word = ids[order[r], s]
                for j in range(units):
                    after = states[row + r, j]
                    d_sum[r, j] = d_states[r, j] * (_ONE - after * after)
                    d_inputs[word, j] += d_sum[r, j]
                    d_bias[j] += d_sum[r, j]
            np.dot(d_sum, transposed, d_states[:begun])
            row -= begun
            full = top < begun  # no room for another step
        while begun and first[begun - 1] == s:
            begun -= 1
            for j in range(units):
                d_pads[s, j] += d_states[begun, j]
        if full or begun == 0:
            d_recurrent += np.dot(states[row : row + len(d_sums) - top].T, d_sums[top:])
            top = len(d_sums)
        if begun == 0:
            break


@compiled
def pad_gradients(pads: Array, transposed: Array, d_pads: Array, d_pad_input: Array, d_recurrent: Array) -> None:
    """Walk the padding's own steps backwards, and add to ``d_pad_input`` (u,) and ``d_recurrent`` (u, u)."""
    d_state = np.zeros_like(d_pad_input)
    d_sums = np.empty_like(pads[1:])
    for s in range(len(d_sums) - 1, -1, -1):
        for j in range(len(d_state)):
            d_sums[s, j] = (d_state[j] + d_pads[s + 1, j]) * (_ONE - pads[s + 1, j] * pads[s + 1, j])
            d_pad_input[j] += d_sums[s, j]
        np.dot(d_sums[s], transposed, d_state)
    d_recurrent += np.dot(pads[:-1].T, d_sums)
