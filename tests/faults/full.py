"""A full disk, and places that cannot be written to, for the commands on labels."""

import resource
from functools import partial
from pathlib import Path

from tests.faults.kills import start
from tests.faults.labels import COMMANDS, variables_of
from tests.faults.worlds import Worlds, put_in_use
from tests.servers import prefect
from tests.world import Registry

ROOM = 2_000  # bytes that a file may have: no sample, table or database has so few
BLOCKED = {  # what cannot be made, by the command
    "label": "data/samples", "monitor": "data/work", "data --from-labels": "reviews/labelled-reviews-1.jsonl",
}  # fmt: skip
FAULTS = [(fault, name) for name in BLOCKED for fault in ("no room", "little room", "unwritable")]


def outage(worlds: Worlds, folder: Path, seed: int) -> None:
    """A command meets an outage and ends with 3 and one message; the same one then works."""
    world = worlds.copy(folder / "world")
    put_in_use(world, Registry.GOOD)
    fault, name = FAULTS[seed % len(FAULTS)]
    given = COMMANDS[name]
    given.prepare(world)
    command, output, blocked = given.command, world.root / "output.txt", world.root / BLOCKED[name]
    arguments = command.arguments(world)
    room = ROOM if fault == "no room" else (world.root / "mlruns" / "mlflow.db").stat().st_size
    limit = None if fault == "unwritable" else partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
    if fault == "unwritable" and blocked.suffix:
        blocked.mkdir()  # a folder, in the place of a file
        (blocked / "x").touch()
    elif fault == "unwritable":
        if blocked.exists():
            blocked.rmdir()  # the draw before has left it, empty
        blocked.parent.mkdir(exist_ok=True)
        blocked.touch()
    with prefect(folder) as address:  # its own files may grow
        process = start(
            world, "sentiflow", *arguments, before=limit, PREFECT_API_URL=address, **variables_of(world)
        )
        code = process.wait(600)
    told = output.read_text()
    assert code == 3 or (fault == "little room" and code == 0), f"{code}: {told[-3_000:]}"
    assert "Traceback" not in told and told.count("Error: ") == (1 if code else 0), told[-3_000:]
    if fault == "unwritable" and blocked.is_dir():
        (blocked / "x").unlink()
        blocked.rmdir()
    elif fault == "unwritable":
        blocked.unlink()
    again = world.run(*arguments, timeout=600, PREFECT_API_URL="", **variables_of(world))
    assert again.returncode in command.codes, f"again: {again.returncode}: {again.stderr[-1_500:]}"
    command.check(world)
