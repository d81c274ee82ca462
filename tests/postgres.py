"""A PostgreSQL server of a test's own, from Debian's package."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import free_port


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run an empty server in a folder until the block ends; gives the address of its database ``postgres``."""
    server = Postgres(folder, free_port())
    server.start()
    try:
        yield server.address
    finally:
        server.stop()


class Postgres:
    """A server that can be stopped and started again.

    It refuses to run as root, so root hands it to the system's user postgres.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._programs = _programs()
        self._folder, self._port = folder / "postgres", port
        self._folder.mkdir(parents=True)
        if os.getuid() == 0:
            _open_way(self._folder)
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync")

    @property
    def address(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "--wait", "--log", str(self._folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "--wait", "--mode", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # To a file: the server would hold a pipe open.
        with (self._folder.parent / "postgres.log").open("a") as log:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL (Debian: apt-get install postgresql)")
    if os.getuid() == 0:
        pwd.getpwnam("postgres")
    return found[-1].parent


def _open_way(folder: Path) -> None:
    """Let another user pass through the folders above, which pytest closes to others."""
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
