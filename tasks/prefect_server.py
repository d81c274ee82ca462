"""The Prefect server that schedules need: the one that is set, or one of our own on this machine."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from sentiment.errors import WorldError
from sentiment.settings import Settings
from tasks.processes import end
from tasks.temporary_server import command_of

_HOST = "127.0.0.1"
_ENVIRONMENT = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_LOGGING_LEVEL": "WARNING"}
_START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A running Prefect server.

    Attributes:
        ui: the address for a browser.
        told: how it came, for people.
        own: whether it ends with this process.
    """

    ui: str
    told: str
    own: bool


@contextmanager
def running_server(settings: Settings) -> Iterator[Server]:
    """Use the Prefect server that is set; else the one at the port of the settings, started if there is none.

    One that was started here, now or by a process that was killed since, ends with the block.
    Written: ``PREFECT_API_URL`` of this process and its children; the server's output, in the data folder.

    Raises:
        WorldError: it does not answer, or something else has the port.
    """
    if url := get_current_settings().api.url:
        _need_answer(url)
        yield Server(_ui(url), "the server that is set", own=False)
        return
    base = f"http://{_HOST}:{settings.prefect_port}"
    folder = settings.data_dir / "schedule"
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / f"server-{settings.prefect_port}"
    process, told = _find_or_start(base, settings.prefect_port, note)
    os.environ["PREFECT_API_URL"] = f"{base}/api"
    refresh_global_settings_context()
    try:
        yield Server(base, told, own=process is not None)
    finally:
        if process is not None:
            end(process)
            note.unlink(missing_ok=True)


def use_running(settings: Settings) -> bool:
    """Whether a Prefect server is set, or answers at the port of the settings, which is then set for this process.

    Written: ``PREFECT_API_URL`` of this process.
    """
    if get_current_settings().api.url:
        return True
    base = f"http://{_HOST}:{settings.prefect_port}"
    if not _is_prefect(base):
        return False
    os.environ["PREFECT_API_URL"] = f"{base}/api"
    refresh_global_settings_context()
    return True


def connect_to_running(settings: Settings) -> Server:
    """The server that is set, or the one at the port of the settings.

    Written: ``PREFECT_API_URL`` of this process, so that Prefect's clients find it.

    Raises:
        WorldError: there is none.
    """
    if url := get_current_settings().api.url:
        _need_answer(url)
        return Server(_ui(url), "the server that is set", own=False)
    base = f"http://{_HOST}:{settings.prefect_port}"
    if not use_running(settings):
        raise WorldError(
            f"No Prefect server answers at {base}.",
            "Start `sentiflow schedule`, or set PREFECT_API_URL to the one to use.",
        )
    return Server(base, "the server that is running", own=False)


def _find_or_start(base: str, port: int, note: Path) -> tuple[int | None, str]:
    """The number of the process to end at the end, if any, and what to tell of it."""
    left = int(note.read_text(encoding="utf-8") or 0) if note.exists() else 0
    if left and not _is_ours(left, port):
        left = 0
    if _is_prefect(base):
        return (left, "the one that a killed schedule left") if left else (None, "the one that is running")
    if left:
        end(left)  # it hangs, or was killed while it started
    if _is_taken(port):
        raise WorldError(
            f"Port {port} is taken, and not by a Prefect server.",
            "Set SENTIFLOW_PREFECT_PORT to a free one.",
        )
    return _start(base, port, note), "started here"


def _start(base: str, port: int, note: Path) -> int:
    log = note.with_suffix(".log")
    with log.open("w", encoding="utf-8") as output:
        # In a session of its own: Ctrl-C would end it before what it must still be told.
        process = subprocess.Popen(
            [sys.executable, "-m", *_command(port)],
            # Its pages would ask port 4200 otherwise.
            env={**os.environ, **_ENVIRONMENT, "PREFECT_SERVER_UI_API_URL": f"{base}/api"},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    note.write_text(str(process.pid), encoding="utf-8")
    try:
        until = time.monotonic() + _START_SECONDS
        while not _is_prefect(base):
            if process.poll() is not None:
                raise WorldError(f"The Prefect server did not start: {_last_line(log)}", f"All it said: {log}")
            if time.monotonic() > until:
                raise WorldError(f"The Prefect server did not answer within {_START_SECONDS} s.", f"See {log}")
            time.sleep(0.3)
    except BaseException:
        end(process.pid)
        note.unlink(missing_ok=True)
        raise
    return process.pid


def _command(port: int) -> list[str]:
    return ["prefect", "--no-prompt", "server", "start", "--host", _HOST, "--port", str(port)]


def _is_ours(process: int, port: int) -> bool:
    return " ".join(_command(port)) in command_of(process)


def _is_prefect(base: str) -> bool:
    try:
        return _get(f"{base}/api/health") is True and isinstance(_get(f"{base}/api/admin/version"), str)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _get(address: str) -> object:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    with opener.open(address, timeout=5) as answer:
        return json.load(answer)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return True
    return False


def _need_answer(url: str) -> None:
    with get_client(sync_client=True) as client:
        if failure := client.api_healthcheck():
            raise WorldError(
                f"The Prefect server at {url} does not answer: {failure}",
                "Start it, or unset PREFECT_API_URL to use one on this machine.",
            )


def _ui(api_url: str) -> str:
    return get_current_settings().ui_url or api_url.rstrip("/").removesuffix("/api")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")
