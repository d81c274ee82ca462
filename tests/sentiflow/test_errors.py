"""Tests of the errors that users see."""

import pickle

import pytest

from sentiflow.errors import (
    ExternalError,
    SentiflowError,
    UnreachableError,
    UsageError,
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
