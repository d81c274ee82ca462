"""How errors, log lines and what children say reach the terminal."""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from flows.cli.output import ConsoleHandler, as_ours, relayed, report
from flows.cli.schedule import _announce
from sentiflow.console import CONSOLE
from sentiflow.errors import ExternalError, UsageError
from sentiflow.operations.prefect_server import Server
from tests.world import World

STEERING = "a\x1b[31m\x07\u202e"
SHOWN = r"a\x1b[31m\x07\u202e"


@pytest.fixture(autouse=True)
def _own_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOW_RUN_FMT", "TASK_RUN_FMT", "FORMAT", "DATEFMT"):
        monkeypatch.setenv(f"PREFECT_LOGGING_FORMATTERS_STANDARD_{name}", "kept")  # undone at the end


@pytest.mark.parametrize(
    "err",
    [
        UsageError(f"No file {STEERING}.", f"Look at {STEERING}."),
        ExternalError(f"No file {STEERING}.\nError: forged", "b"),
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


@pytest.mark.parametrize(("status", "code"), [(500, 3), (503, 3), (401, 3), (404, 1)])
def test_an_answer_of_prefects_server_is_an_external_failure_if_it_failed_or_refused_the_login(
    status: int, code: int
) -> None:
    """A full disk is told by the server with 500; what it does not know is a bug of ours."""
    response = httpx.Response(status, request=httpx.Request("POST", "http://127.0.0.1:4200/api/flow_runs/"))
    with pytest.raises(httpx.HTTPStatusError) as found:
        response.raise_for_status()
    assert as_ours(PrefectHTTPStatusError.from_httpx_error(found.value)).exit_code == code


def test_a_log_line_steers_no_terminal_and_tells_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    message = f"retry of http://me:S3CRET@h/x: {STEERING}"
    ConsoleHandler(debug=False).emit(logging.makeLogRecord({"msg": message, "name": "x", "levelno": 30}))
    assert capsys.readouterr().err.rstrip().endswith(f"retry of http://***@h/x: {SHOWN}")


def test_lines_come_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with relayed():
        sys.stderr.write("12:36:39 train      epo")
        sys.stderr.write("ch 1/2\n12:36:40 close")
        sys.stderr.write(" killed runs\n")
    assert capsys.readouterr().err == "12:36:39 train      epoch 1/2\n12:36:40 close killed runs\n"


@pytest.mark.parametrize(
    ("name", "path", "shown"),
    [
        ("prefect.flow_runs", "/here/sentiflow/pipeline/steps.py", True),
        ("prefect.flow_runs", "/lib/prefect/flow_engine.py", False),
        ("mlflow.utils.environment", "/lib/mlflow/utils/environment.py", False),
        ("mlflow.store", "/lib/mlflow/store.py", True),
    ],
)
def test_lines_of_prefects_engine_are_shown_only_when_debugging(name: str, path: str, shown: bool) -> None:
    record = logging.LogRecord(name, logging.WARNING, path, 1, "a line", None, None)
    assert bool(ConsoleHandler(debug=False).filter(record)) == shown
    assert ConsoleHandler(debug=True).filter(record)


def test_what_the_command_says_meanwhile_is_no_childs(capsys: pytest.CaptureFixture[str]) -> None:
    with relayed():
        sys.stderr.write("12:36:41 train      epo")
        CONSOLE.print("Ended.")
        sys.stderr.write("ch 1/2\n")
    assert capsys.readouterr().err == "Ended.\n12:36:41 train      epoch 1/2\n"


def test_what_a_child_says_steers_no_terminal_and_tells_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    with relayed():
        sys.stderr.write("12:36:41 train      \x1b]0;PWNED\x07 \x9b2J at http://me:S3CRET@h:1/x\n")
    assert capsys.readouterr().err == "12:36:41 train      \\x1b]0;PWNED\\x07 \\x9b2J at http://***@h:1/x\n"


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}])
def test_a_schedules_login_is_shown_on_a_terminal_alone_else_the_file_that_has_it(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]
) -> None:
    """A service manager keeps what it says in a journal that others read."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = Server("http://127.0.0.1:4200", "sentiflow:S3CRET")
    screen, terminal = os.openpty()
    with os.fdopen(terminal, "w") as file, (tmp_path / "log").open("w") as log:
        for stream in (file, log):
            monkeypatch.setattr(CONSOLE, "_file", stream)  # `file` would stay set
            _announce([], server, world.settings)
            stream.flush()
    shown = b""
    with suppress(OSError):  # the terminal is closed, and all of it read
        while True:
            shown += os.read(screen, 4_000)
    os.close(screen)
    assert b"login: sentiflow:S3CRET" in shown
    logged = (tmp_path / "log").read_text()
    assert f"login: in {world.root / 'data' / 'schedule' / 'server.json'}" in logged and "S3CRET" not in logged


def test_a_variable_of_mlflow_with_a_wrong_value_is_named_and_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red if a user's misspelt value were called a bug of ours."""
    from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING, MLFLOW_HTTP_POOL_MAXSIZE

    for variable in (MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING, MLFLOW_HTTP_POOL_MAXSIZE):
        monkeypatch.setenv(variable.name, "odd")
        with pytest.raises(ValueError, match="odd") as found:
            variable.get()
        assert as_ours(found.value).exit_code == 2
        report(found.value, debug=False)
        assert f"Correct {variable.name} in the environment" in capsys.readouterr().err
        monkeypatch.delenv(variable.name)
        assert as_ours(found.value).exit_code == 1
