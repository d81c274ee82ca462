"""A store that is locked, a disk that is full, a folder that cannot be written to."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from tests.faults.kills import COMMANDS, start
from tests.faults.worlds import NAME, TRAIN, Worlds, all_runs, check_whole, put_in_use
from tests.mlflow_store import versions_of
from tests.polling import until
from tests.servers import answers, free_port, prefect
from tests.world import Registry, World

FAULTS = (
    "locked promote", "locked train", "full score", "full train", "unwritable train", "mlflow away",
    "prefect away",
)  # fmt: skip
LOCKED = 10  # seconds; less than a store is waited for
AWAY, LONG_AWAY = 5, 60  # seconds that a server is away
STEPS = ("training on", "epoch 1/", "epoch 2/", "kept epoch", "registered ")
ROOM = {"score": 200_000, "train": 2_300_000}  # bytes that a file may have on the full disk


def outage(worlds: Worlds, folder: Path, seed: int) -> None:
    """A command meets an outage: it waits and works, or ends with 3 and a message; later it works."""
    world = worlds.copy(folder / "world")
    client, output = put_in_use(world, Registry.POOR), world.root / "output.txt"
    fault, name = FAULTS[seed % len(FAULTS)].split()
    if name == "away":
        _away(world, fault, seed, LONG_AWAY if seed // len(FAULTS) % 2 else AWAY)
        return
    arguments = COMMANDS[name].arguments(world)
    if fault == "locked":
        sign = "epoch 1/" if name == "train" else ""
        process = start(world, "sentiflow", *arguments)
        until(lambda: sign in output.read_text(), f"{name} to say {sign!r}", 300)
        with locked(world):
            time.sleep(LOCKED)
            assert process.poll() is None, f"{name} ended: {output.read_text()[-2_000:]}"
        assert process.wait(600) == 0, output.read_text()[-2_000:]
    else:
        room = ROOM.get(name, 0)
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room)) if fault == "full" else None
        before = len(all_runs(client))
        output.touch()  # in the place of a folder
        variables = {"SENTIFLOW_DATA_DIR": str(output / "data")} if fault == "unwritable" else {}
        with prefect(folder) as address:  # its own files may grow
            process = start(world, "sentiflow", *arguments, before=limit, PREFECT_API_URL=address, **variables)
            assert process.wait(600) == 3, output.read_text()[-3_000:]
        told = output.read_text()
        assert "Traceback" not in told and told.count("Error: ") == 1, told[-3_000:]
        assert (fault, name) != ("full", "train") or len(all_runs(client)) == before + 1, (
            f"it failed before its run: {told[-1_500:]}"
        )
        assert len(versions_of(client, NAME)) == 3, "something was registered"
        assert not (world.root / "out.csv").exists(), "half a table of scores was written"
        again = world.run(*COMMANDS[name].arguments(world), timeout=600, PREFECT_API_URL="")
        assert again.returncode == 0, again.stderr
    COMMANDS[name].check(world) if name != "promote" else check_whole(world, Registry.GOOD)


def _away(world: World, which: str, seed: int, seconds: int) -> None:
    """A training whose server is killed at a step and comes back; it finishes, or fails and works again."""
    step, output = STEPS[seed % len(STEPS)], world.root / "output.txt"
    arguments = (*TRAIN, "--set", "epochs=3", "--seed", "7")
    with Server(which, world) as server:
        process = start(world, "sentiflow", *arguments, **server.variables)
        until(lambda: step in output.read_text() or process.poll() is not None, f"it to say {step!r}", 300)
        assert process.poll() is None, f"it had ended with {process.poll()} before the server was killed"
        server.kill()
        time.sleep(seconds)
        server.start()
        code, told = process.wait(600), output.read_text()
        assert code in (0, 3), f"{step!r}: {code}\n{told[-3_000:]}"
        assert "Traceback" not in told and told.count("Error: ") == (1 if code else 0), told[-3_000:]
        again = world.run(*arguments, timeout=600, **{"PREFECT_API_URL": "", **server.variables})
        assert again.returncode == 0, again.stderr
    assert check_whole(world, Registry.POOR) == 4


class Server:
    """A server of MLflow or Prefect, killed and started again on the same port."""

    def __init__(self, which: str, world: World) -> None:
        self._world, port = world, free_port()
        address = f"http://127.0.0.1:{port}"
        store = ["--backend-store-uri", world.settings.tracking_uri, "--workers", "1"]
        self._command, path, self.variables = {
            "mlflow": (["mlflow", "server", *store], "/health", {"SENTIFLOW_TRACKING_URI": address}),
            "prefect": (
                ["prefect", "--no-prompt", "server", "start"], "/api/health", {"PREFECT_API_URL": f"{address}/api"}
            ),
        }[which]  # fmt: skip
        self._command += ["--port", str(port)]
        self._health = f"{address}{path}"

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        log = self._world.root / "server.txt"
        program, *arguments = self._command
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name(program), *arguments], cwd=self._world.root, stdout=output,
                env=self._world.environment(PREFECT_API_URL=""), stderr=output, start_new_session=True,
            )  # fmt: skip
        until(lambda: answers(self._health), f"{program} to answer", 180, log.read_text, self._process)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def locked(world: World) -> Iterator[None]:
    with closing(sqlite3.connect(str(world.settings.sqlite_file), isolation_level=None, timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")
