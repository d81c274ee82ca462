"""How commands end: with the promised exit code, whatever ends them and when."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

import pytest

from tests.world import ROOT, World, command

# The command line with a command of the test's own in place of the real ones.
MAIN = """
import atexit, contextlib, os, signal, sys, time
class Late:
    def __del__(self):
        print("finalized", flush=True)
late = Late()
def say(word):
    print(word, flush=True)
def hold(seconds):
    os.write(1, b"begun\\n")  # a signal right after it cannot leave it in a buffer, to be written once more
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
def app():
{body}
from flows.cli import main
main.application = lambda: app
from sentiflow import signals
signals.EXIT_SECONDS, signals.decide.__defaults__ = {closing}, ({closing},)
main.main()
"""


@contextmanager
def main(body: str, closing: float = 60.0) -> Iterator["subprocess.Popen[str]"]:
    """A process whose command is this code, which calls ``hold`` where it is to be interrupted."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN.format(body=lines, closing=closing)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_that_was_started_with_closed_streams_fails_all_the_same(world: World, closed: str) -> None:
    line = f"exec {quote(str(command()))} data --dataset missing.csv {closed}"
    assert subprocess.run(["sh", "-c", line], env=world.environment(), check=False).returncode == 2


def read(process: "subprocess.Popen[str]", word: str) -> None:
    """Wait until the process has said this."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == f"{word}\n", line or process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """The exit code as it is, and what was said from now on."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


ENDINGS = {
    "success": ("raise SystemExit(0)", 0),
    "wrong use": ("from sentiflow.errors import UsageError\nraise UsageError('no')", 2),
    "failed world": ("raise OSError(28, 'No space left on device')", 3),
    "refused": ("from sentiflow.errors import RejectedError\nraise RejectedError('no')", 4),
    "bug": ("raise ZeroDivisionError", 1),
}


@pytest.mark.parametrize(("body", "code"), ENDINGS.values(), ids=ENDINGS)
def test_what_is_registered_for_the_exit_runs_and_the_interpreter_is_not_finalized(body: str, code: int) -> None:
    with main(f"atexit.register(say, 'at exit')\nsys.stdout.write('unflushed ')\n{body}") as process:
        assert ended(process)[:2] == (code, "unflushed at exit\n")


def test_warnings_that_a_user_makes_errors_of_end_no_command_and_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    warn = "import warnings; warnings.warn('noload')"
    as_multiprocessing_does = "[sys.executable, *subprocess._args_from_interpreter_flags(), '-c', warn]"
    child = f"say(subprocess.call({as_multiprocessing_does}))"
    with main(f"import subprocess\nwarn = {warn!r}\nexec(warn)\n{child}\nraise SystemExit(0)") as process:
        assert ended(process) == (0, "0\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_what_was_begun_be_closed(number: signal.Signals) -> None:
    with main("try:\n    hold(60)\nfinally:\n    say('closed')") as process:
        read(process, "begun")
        process.send_signal(number)
        code, out, err = ended(process)
    assert (code, out) == (128 + number, "closed\n")
    assert "Interrupted" in err and "Traceback" not in err


def test_an_exit_that_takes_too_long_is_cut_short_with_the_signals_code() -> None:
    with main("atexit.register(time.sleep, 60)\nhold(60)", closing=1.0) as process:
        read(process, "begun")
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130


def test_a_signal_that_comes_twice_at_once_is_one_and_a_later_one_ends_the_process() -> None:
    again = "os.kill(os.getpid(), signal.SIGINT)"
    with main(f"try:\n    hold(60)\nfinally:\n    {again}\n    time.sleep(3)\n    say('closed')") as process:
        read(process, "begun")
        process.send_signal(signal.SIGINT)
        assert ended(process)[:2] == (130, "closed\n")
    with main(
        "try:\n    hold(60)\nfinally:\n    say('closing')\n    time.sleep(60)\n    say('closed')"
    ) as process:
        read(process, "begun")
        process.send_signal(signal.SIGINT)
        read(process, "closing")
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        assert ended(process)[:2] == (130, "")


@pytest.mark.parametrize("code", [0, 3])
def test_a_signal_while_the_process_ends_changes_nothing(code: int) -> None:
    late = "def late():\n    say('ending')\n    time.sleep(1)\n    say('ended')\natexit.register(late)"
    with main(f"{late}\nsys.exit({code})") as process:
        read(process, "ending")
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (code, "ended\n", "")


def test_a_signal_that_the_starter_ignores_stays_ignored() -> None:
    done = subprocess.run(
        ["nohup", sys.executable, "-c", "import signal; from sentiflow import signals; signals.listen(); "
         "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True\n"


def test_a_closed_pipe_changes_no_exit_code(world: World) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [command(), "train", "--help"], env=world.environment(), stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interpreter_that_ends_waits_for_the_import_in_the_background() -> None:
    """Of flow runs, whose process is Prefect's: it is finalized, and would crash under a native import."""
    code = """
import sys, time
class Slow:
    def find_spec(self, name, *_):
        if name == "sentiflow.training.network.loop":
            time.sleep(1)
            print("imported", flush=True)
            raise ImportError
sys.meta_path.insert(0, Slow())
from sentiflow.training.preload import preload
preload()
sys.exit(2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "imported\n", "")
