"""Tests of how errors and log lines reach the terminal."""

import logging

import pytest

from flows.cli.console import ConsoleHandler, report
from sentiflow.errors import UsageError, WorldError

STEERING = "a\x1b[31m\x07\u202e"
SHOWN = r"a\x1b[31m\x07\u202e"


@pytest.mark.parametrize(
    "err",
    [
        UsageError(f"No file {STEERING}.", f"Look at {STEERING}."),
        WorldError(f"No file {STEERING}.\nError: forged", "b"),
        OSError(2, "No such file", STEERING),
        ValueError(STEERING),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_error_steers_no_terminal(capsys: pytest.CaptureFixture[str], err: Exception, debug: bool) -> None:
    report(err, debug=debug)
    told = capsys.readouterr().err
    assert SHOWN in told
    assert all(char.isprintable() or char == "\n" for char in told)
    assert debug or [line for line in told.splitlines() if line.startswith("Error:")] == [told.splitlines()[0]]


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_tells_no_password(capsys: pytest.CaptureFixture[str], debug: bool) -> None:
    secret = "S3CRET"  # not in the lines that a traceback shows
    try:
        raise ConnectionError(f"no answer from http://me:{secret}@h/x?token={secret}")
    except ConnectionError as err:
        report(err, debug=debug)
    told = capsys.readouterr().err
    assert "http://***@h/x" in told
    assert secret not in told


def test_a_log_line_steers_no_terminal_and_tells_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    message = f"retry of http://me:S3CRET@h/x: {STEERING}"
    ConsoleHandler(debug=False).emit(logging.makeLogRecord({"msg": message, "name": "x", "levelno": 30}))
    assert capsys.readouterr().err.rstrip().endswith(f"retry of http://***@h/x: {SHOWN}")
