"""A running ``sentiflow ui``."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import HttpCredentials

from tests.servers import free_port
from tests.world import World, command


@dataclass(frozen=True)
class Ui:
    """One that runs.

    Attributes:
        root: its address.
        note: the file with its login.
    """

    root: str
    note: Path
    process: "subprocess.Popen[str]"

    @property
    def port(self) -> int:
        return int(self.root.rpartition(":")[2])

    @property
    def login(self) -> tuple[str, str]:
        user, _, password = str(json.loads(self.note.read_text())["login"]).partition(":")
        return user, password

    @property
    def credentials(self) -> HttpCredentials:
        user, password = self.login
        return {"username": user, "password": password, "origin": self.root}

    def client(self, **headers: str) -> httpx.Client:
        """A program that knows the login."""
        return httpx.Client(base_url=self.root, auth=self.login, headers=headers, trust_env=False, timeout=60)


@contextmanager
def running_ui(world: World, host: str = "127.0.0.1", **variables: str) -> Iterator[Ui]:
    """Run ``sentiflow ui`` over a world's store until the block ends, which it may do before."""
    port = free_port()
    process = subprocess.Popen(
        [command(), "ui", "--port", str(port)],
        env=world.environment(SENTIFLOW_UI_URL=f"http://{host}", **variables), cwd=world.root, text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        note = world.root / "data" / "ui" / f"{host}:{port}.json"
        lines = []
        for line in process.stderr:
            lines.append(line)
            if f"MLflow UI: http://{host}:{port}/#/experiments/1/" in line:
                assert line.endswith(f"login: in {note}   (Ctrl-C ends it)\n"), "its output is no terminal"
                break
        else:
            raise AssertionError("".join(lines))
        yield Ui(f"http://{host}:{port}", note, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
