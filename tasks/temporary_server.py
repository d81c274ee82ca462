"""Prefect's temporary server: started before it is needed, kept alive through Ctrl-C, never left behind."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prefect.server.api import server as prefect_server
from prefect.settings import get_current_settings

from sentiment.settings import Settings


class _OwnSession(prefect_server.SubprocessASGIServer):
    """The temporary server in a session of its own.

    Ctrl-C goes to every process of the terminal's group. A server that dies of it cannot be told that the flow
    was interrupted, and Prefect's client then asks for minutes.
    """

    def _run_uvicorn_command(self) -> "subprocess.Popen[Any]":
        detached = SimpleNamespace(Popen=partial(subprocess.Popen, start_new_session=True))
        prefect_server.subprocess = detached  # type: ignore[assignment, attr-defined]  # there is no option for it
        try:
            return super()._run_uvicorn_command()
        finally:
            prefect_server.subprocess = subprocess  # type: ignore[attr-defined]


def start_early(settings: Settings) -> tuple[Callable[[], None], str]:
    """Start the temporary server in the background, unless a running one is set.

    Its process needs some eight seconds of its own, about as long as this one's imports. Prefect asks for the
    same server when the flow begins, so it must be up by then. Servers of killed processes are ended first.

    Returns:
        A function to call before the flow (it waits, and raises what the start raised), and which server it is.
    """
    if url := get_current_settings().api.url:
        return lambda: None, f"the server at {url}"
    notes = settings.data_dir / "servers"
    end_orphans(notes)
    failures: list[Exception] = []

    def start() -> None:
        try:
            server = _OwnSession()
            server.start()
            if server.server_process is not None:
                notes.mkdir(parents=True, exist_ok=True)
                (notes / str(os.getpid())).write_text(str(server.server_process.pid), encoding="utf-8")
        except Exception as err:  # noqa: BLE001 - raised where it is waited for
            failures.append(err)

    # A daemon: a command that fails meanwhile need not wait for it. Prefect stops the server at exit.
    thread = threading.Thread(target=start, daemon=True)
    thread.start()

    def wait() -> None:
        thread.join()
        if failures:
            raise failures[0]

    return wait, "a temporary server"


def end_orphans(notes: Path) -> list[int]:
    """End servers whose process was killed: each note is named by that process and holds the server's number.

    Returns:
        The numbers of the servers that were ended.
    """
    ended = []
    for note in notes.glob("*"):
        if command_of(int(note.name)):
            continue
        server = int(note.read_text(encoding="utf-8") or 0)
        if "prefect.server.api.server:create_app" in command_of(server):
            os.kill(server, signal.SIGTERM)
            ended.append(server)
        note.unlink(missing_ok=True)
    return ended


def command_of(process: int) -> str:
    """The command line of a process, not cut to the terminal's width (``-ww``); empty when there is none."""
    done = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
