"""Tests of the errors that users see."""

import pickle

import pytest

from sentiflow.errors import (
    ExternalError,
    SentiflowError,
    UnreachableError,
    UsageError,
    first_line,
    out_of_memory,
)

ALL = [SentiflowError, UsageError, ExternalError, UnreachableError]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_survives_a_pickle_with_its_hint(kind: type[SentiflowError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what failed", "what to do")))
    assert (type(copy), copy.args, copy.hint) == (kind, ("what failed",), "what to do")


def test_nothing_but_message_and_hint_goes_with_an_error_that_prefect_writes_to_disk() -> None:
    error = UsageError("what failed", "what to do")
    error.rejects = ["a private review"]  # type: ignore[attr-defined]
    assert b"private" not in pickle.dumps(error)


@pytest.mark.parametrize(("kind", "code"), zip(ALL, [1, 2, 3, 3], strict=True))
def test_each_kind_has_its_exit_code(kind: type[SentiflowError], code: int) -> None:
    assert kind("x").exit_code == code


def test_an_error_reads_as_what_failed_and_what_to_do() -> None:
    assert str(UsageError("what failed", "what to do")) == "what failed\nwhat to do"


def test_an_error_without_a_hint_is_one_line() -> None:
    assert str(UsageError("what failed")) == "what failed"


def test_an_unreachable_address_is_a_failure_of_the_world() -> None:
    assert issubclass(UnreachableError, ExternalError)


ONE = """Graph execution error:

Detected at node fast_network/PyFuncStateless defined at (most recent call last):
  File "training.py", line 16, in run_epochs

UnpicklingError: pickle data was truncated
Traceback (most recent call last):

  File "script_ops.py", line 269, in __call__
    ret = func(*args)
          ^^^^^^^^^^^

_pickle.UnpicklingError: pickle data was truncated


\t [[{{node fast_network/PyFuncStateless}}]] [Op:__inference_multi_step_on_iterator_402]"""

SEVERAL = """Graph execution error:

Detected at node PyFuncStateless defined at (most recent call last):
<stack traces unavailable>
2 root error(s) found.
  (0) UNKNOWN:  UnpicklingError: pickle data was truncated
Traceback (most recent call last):

  File "script_ops.py", line 269, in __call__
    ret = func(*args)

_pickle.UnpicklingError: pickle data was truncated


\t [[{{node PyFuncStateless}}]]
\t [[ReadVariableOp/_12]]
  (1) CANCELLED:  Function was cancelled
0 successful operations.
0 derived errors ignored. [Op:__inference_one_step_402]"""


@pytest.mark.parametrize("message", [ONE, SEVERAL])
def test_of_an_error_in_a_graph_of_tensorflow_the_reason_is_shown(message: str) -> None:
    """Red if a user reads no more than "Graph execution error:"."""
    assert first_line(RuntimeError(message)) == "_pickle.UnpicklingError: pickle data was truncated"


def test_a_graph_error_without_a_reason_is_shown_as_it_is() -> None:
    assert first_line(RuntimeError("Graph execution error:\n\t [[node]]")) == "Graph execution error:"


LIBRARY = "libtensorflow_cc.so.2: failed to map segment from shared object"
MEMORY = [
    (MemoryError(), "MemoryError"),
    (ImportError(f"PLEASE READ THIS\n{LIBRARY}\nmore"), LIBRARY),
    (OSError(12, "Cannot allocate memory"), "[Errno 12] Cannot allocate memory"),
    (RuntimeError("can't start new thread"), "can't start new thread"),
]


@pytest.mark.parametrize(("err", "why"), MEMORY)
def test_a_lack_of_memory_is_an_external_failure_in_one_line_however_it_shows(err: Exception, why: str) -> None:
    wrapped = ValueError("a library's own")
    wrapped.__cause__ = err
    for each in (err, wrapped):
        said = out_of_memory(each)
        assert said is not None and said.exit_code == 3
        assert said.args[0] == f"There was not enough memory: {why}."


def test_another_error_is_none_of_memory() -> None:
    assert out_of_memory(ValueError("no")) is None
