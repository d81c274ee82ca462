"""A store that is locked, a disk that is full, a folder that cannot be written to."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from tests.faults.campaign import Case, Red
from tests.faults.kills import COMMANDS, start
from tests.faults.worlds import NAME, Worlds, check_whole, put_in_use, wait_until
from tests.mlflow_store import versions_of
from tests.world import Registry, World

FAULTS = ("locked promote", "locked train", "full score", "full train", "unwritable train")
ROOM = 200_000  # bytes that a file may have on the full disk


def outage(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """A command meets an outage: it waits and works, or ends with 3 and a message; later it works."""
    world = worlds.copy(folder / "world")
    client, output = put_in_use(world, Registry.POOR), world.root / "output.txt"
    fault, name = FAULTS[seed % len(FAULTS)].split()
    arguments = COMMANDS[name].arguments(world)
    if fault == "locked":
        sign = "epoch 1/" if name == "train" else ""
        process = start(world, "sentiflow", *arguments)
        wait_until(lambda: sign in output.read_text(), f"{name} to say {sign!r}", 300)
        with _locked(world):
            wait_until(lambda: "waiting for" in output.read_text() or process.poll() is not None, "a message", 300)
        assert process.wait(600) == 0, output.read_text()[-2_000:]
        assert "waiting for" in output.read_text(), f"{name} ended before it met the lock"
    else:
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (ROOM, ROOM)) if fault == "full" else None
        output.touch()  # in the place of a folder
        variables = {"SENTIFLOW_DATA_DIR": str(output / "data")} if fault == "unwritable" else {}
        process = start(world, "sentiflow", *arguments, before=limit, **variables)
        assert process.wait(600) == 3, output.read_text()[-3_000:]
        told = output.read_text()
        assert "Traceback" not in told and "Error" in told, told[-3_000:]
        assert len(versions_of(client, NAME)) == 3, "something was registered"
        again = world.run(*COMMANDS[name].arguments(world), timeout=600, PREFECT_API_URL="")
        assert again.returncode == 0, again.stderr
    COMMANDS[name].check(world) if name != "promote" else check_whole(world, Registry.GOOD)
    return {f"{fault} {name}": 1}


@contextmanager
def _locked(world: World) -> Iterator[None]:
    with closing(sqlite3.connect(str(world.settings.sqlite_file), isolation_level=None, timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


F11 = Case(
    "F11",
    "A locked store is waited for; where a disk is full or a folder cannot be written to, a command ends with one "
    "message, and works again with room.",
    f"{', '.join(FAULTS)}: SQLite locked by another connection until the command says that it waits; no file "
    f"larger than {ROOM:,} bytes; a file where the folder should be",
    outage,
    short=5,
    long=50,
    reds=(
        Red(
            "a locked store is not waited for", "sentiflow/tracking/sqlite.py", "PATIENCE = 60.0",
            "PATIENCE = 0.0", "database is locked",
        ),
    ),
)  # fmt: skip
