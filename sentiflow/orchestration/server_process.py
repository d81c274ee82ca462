"""Prefect's server on a socket that its parent opened; ``sentiflow.orchestration.server`` starts it.

python -m sentiflow.orchestration.server_process DESCRIPTOR
"""

import asyncio
import os
import shutil
import socket
import sqlite3
import sys
import zlib
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import prefect
import uvicorn
from alembic.util import CommandError
from prefect.server.database import provide_database_interface
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import temporary_database_config
from prefect.server.models.block_registration import run_block_auto_registration
from prefect.settings import (
    PREFECT_API_BLOCKS_REGISTER_ON_START,
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_DATABASE_MIGRATE_ON_START,
    PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION,
    get_current_settings,
    temporary_settings,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sentiflow.errors import BusyError, ExternalError, first_line
from sentiflow.files import leftovers, publish
from sentiflow.locks import brief_lock

_DISK = "sqlite+aiosqlite"
_NEW = (
    "move it away: a new one is made, without the flow runs, their logs and what was set in Prefect's pages. "
    "Nothing of MLflow is in it."
)
_RELEASE = zlib.crc32(prefect.__version__.encode()) // 2  # SQLite keeps a number of 31 bits for its users


def prepare_database() -> None:
    """Make Prefect's database, or bring it up to date; one process at a time, as its migrations race.

    A SQLite file that is not there yet is made beside its place and then renamed: one killed meanwhile leaves none
    that is half made.

    Raises:
        OSError: the folder of Prefect cannot be written or is full.
        SQLAlchemyError, sqlite3.Error: the database cannot be written.
    """
    url = make_url(PREFECT_API_DATABASE_CONNECTION_URL.value())
    file = Path(url.database or "")
    with brief_lock(get_current_settings().home / ".sentiflow-database.lock", "Another start of Prefect's server"):
        if url.drivername != _DISK:
            asyncio.run(_migrate())
        elif file.exists():
            asyncio.run(_migrate(file))
        else:
            _publish(file, _make)


def _publish(file: Path, make: Callable[[Path], object]) -> None:
    for leftover in leftovers(file):
        leftover.unlink()
    publish(file, make)


def _make(file: Path) -> None:
    """Copy the empty database that this environment keeps: making one takes seconds, which only the first pays."""
    kept = Path(sys.prefix) / "share" / "sentiflow" / f"prefect-{prefect.__version__}.db"
    if not _is_whole(kept):
        with suppress(OSError, SQLAlchemyError, sqlite3.Error, BusyError):  # the environment may be read-only
            kept.parent.mkdir(parents=True, exist_ok=True)  # for all who use the environment
            with brief_lock(kept.with_name(f".{kept.name}.lock"), "Another start of Prefect's server"):
                if not _is_whole(kept):
                    _publish(kept, _make_new)
    if _is_whole(kept):
        shutil.copyfile(kept, file)
    else:
        _make_new(file)


def _is_whole(file: Path) -> bool:
    """Whether it is there, of this release, and undamaged."""
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            return connection.execute("PRAGMA quick_check").fetchone() == ("ok",) and _has_blocks(file)
    except sqlite3.Error:
        return False


def _make_new(file: Path) -> None:
    with temporary_database_config(AioSqliteConfiguration(f"{_DISK}:///{file}")):
        asyncio.run(_migrate(file))


async def _migrate(file: Path | None = None) -> None:
    """Bring the tables up to date; the types of blocks in a file only once a release, as they take a second."""
    database = provide_database_interface()
    await database.create_db()
    if file is None or not _has_blocks(file):
        async with database.session_context() as session:
            await run_block_auto_registration(session=session)
        if file:
            with closing(sqlite3.connect(file, timeout=60)) as connection:
                connection.execute(f"PRAGMA user_version = {_RELEASE}")
    await (await database.engine()).dispose()


def _has_blocks(file: Path) -> bool:
    """Whether the types of blocks of this release are there; a reset by Prefect's command leaves the number."""
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        (release,) = connection.execute("PRAGMA user_version").fetchone()
        return release == _RELEASE and connection.execute("SELECT 1 FROM block_type").fetchone() is not None


def main(descriptor: int) -> int:
    """Serve until SIGTERM; gives the exit code."""
    url = make_url(PREFECT_API_DATABASE_CONNECTION_URL.value())
    # A database in memory exists only while the server does, which makes it itself.
    in_memory = url.drivername == _DISK and (not url.database or ":memory:" in url.database)
    if not in_memory:
        try:
            prepare_database()
        except Exception as err:  # noqa: BLE001 - whatever it is, the parent shows these lines
            print(*_explain(err, url), sep="\n", file=sys.stderr)  # noqa: T201
            return ExternalError.exit_code
    on_start = {
        PREFECT_API_DATABASE_MIGRATE_ON_START: in_memory,
        PREFECT_API_BLOCKS_REGISTER_ON_START: in_memory,
        PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION: False,  # it imports all collections of Prefect to save nothing
    }
    with temporary_settings(on_start):
        return _serve(descriptor)


def _explain(err: Exception, url: URL) -> tuple[str, str]:
    """Why the database cannot be used, and what to do."""
    place = url.database if url.drivername == _DISK else str(url)
    reason = getattr(err, "orig", None) or err
    if getattr(reason, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"its database {place} is damaged: {first_line(reason)}.", f"Restore a backup of it, or {_NEW}"
    if isinstance(err, CommandError) and "Can't locate revision" in str(err):
        made = f"its database {place} is of another release of Prefect than this one, {prefect.__version__}."
        return made, f"Use that release, restore a backup of before, or {_NEW}"
    check = "can be written and is not full" if url.drivername == _DISK else "answers"
    hint = (
        f"Check that its database {check}, and its folder can be written: {place}, {get_current_settings().home}"
    )
    return f"{type(err).__name__}: {first_line(err)}", hint


def _app() -> ASGIApp:
    """Prefect's application, which answers a login that is not ASCII with 500; this one refuses it with 401."""
    from prefect.server.api.server import create_app

    prefects, refusal = create_app(), JSONResponse({"exception_message": "Unauthorized"}, 401)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        odd = scope["type"] == "http" and any(map(_is_odd, Headers(scope=scope).getlist("authorization")))
        await (refusal if odd else prefects)(scope, receive, send)

    return app


def _is_odd(authorization: str) -> bool:
    """Whether a login is well-formed, but for characters beyond ASCII."""
    try:
        return not b64decode(authorization.split()[1]).isascii()
    except (IndexError, ValueError):  # Prefect refuses it
        return False


def _serve(descriptor: int) -> int:
    config = uvicorn.Config(_app, factory=True, lifespan="on", log_level="error", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=descriptor)])
    return 0 if server.started else 1


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)  # threads of Prefect may be in native code, which the interpreter's own end can crash in
