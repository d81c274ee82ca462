"""The database of a Prefect server of our own: its place, and how a new one is made."""

import os
import re
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import IO

import prefect
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

from sentiflow.children import Child
from sentiflow.console import CONSOLE
from sentiflow.errors import ExternalError
from sentiflow.files import leftovers, make_folder, own_folder, publish
from sentiflow.folder import expanded
from sentiflow.locks import brief_lock
from sentiflow.settings import Settings

_VARIABLE, _FILE = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:///"


def choose_database(settings: Settings) -> Path | None:
    """Let a server of our own keep its database in the data folder, unless Prefect's settings name a place.

    Prefect's default is one for all projects of a user: they would overwrite each other's deployments there, and
    a schedule would run the other's flows. Gives the file, if it is one.
    """
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if url == f"{_FILE}{expanded('~/.prefect/prefect.db')}":
        folder = own_folder(settings.data_dir.resolve() / "prefect")  # blocks hold secrets
        url = os.environ[_VARIABLE] = f"{_FILE}{folder / 'prefect.db'}"
    place = url.removeprefix(_FILE).partition("?")[0]
    return Path(place) if url.startswith(_FILE) and place and ":memory:" not in url else None


def make_database(file: Path) -> None:
    """Make a database for Prefect's server, by Prefect's own command, unless it is there.

    Migrations of two servers that start at once would race, and a kill would leave half a database: so it is made
    under a lock, and appears whole. That takes long: the environment keeps an empty one.
    """
    if file.exists():
        return
    kept = Path(sys.prefix, "share", "sentiflow", f"prefect-{prefect.__version__}.db")
    make_folder(file.parent)
    with brief_lock(file.with_name(f".{file.name}.lock"), "Another start of Prefect's server"):
        if file.exists():
            return
        for leftover in leftovers(file):
            leftover.unlink()
        if kept.exists():
            publish(file, partial(shutil.copyfile, kept))
            return
        publish(file, _migrate)
        with suppress(OSError):  # it may be read-only
            publish(kept, partial(shutil.copyfile, file))


def _migrate(file: Path) -> None:
    CONSOLE.print("Making Prefect's database, once ...")
    with tempfile.TemporaryFile() as output:
        command = ["prefect", "server", "database", "upgrade", "--yes"]
        child = Child(command, {**os.environ, _VARIABLE: f"{_FILE}{file}"}, output)
        try:
            code = child.wait()
        finally:
            child.stop()
        if code:
            raise ExternalError(f"Prefect's database {file} could not be made: {reason_of(output)}", "Run again.")
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint")  # what stands beside the file would be lost


_REASON = re.compile(r"^[\w.]+(?:Error|Exception): .+$", re.MULTILINE)


def reason_of(output: "IO[bytes]") -> str:
    """The last error that a child wrote, else its last line."""
    output.seek(0)
    text = output.read().decode(errors="replace").strip()
    return (_REASON.findall(text) or text.splitlines() or ["it gave no reason"])[-1]
