"""Many trainings on a schedule, and a service beside it: what grows with each of them, and what must not."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from signal import SIGINT
from typing import Any

import httpx
import psutil

from sentiflow.store.client import connect
from tests.faults.campaign import Case, Red
from tests.faults.kills import start
from tests.faults.worlds import NAME, SAMPLE, Worlds, check_whole, put_in_use, repeated, wait_until
from tests.mlflow_store import versions_of
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import Registry, World

QUICK = ("--set", "epochs=1", "--set", "sequence_length=20", "--set", "units=4")
RUNS = {0: 6}  # trainings of a try; of the others as many as an hour holds, one every 30 s
HOUR = 120
MEGABYTES = 60  # that all processes together may grow by after the first third
SPARE = 2  # processes, open files and files left that there may be more by then
# SQLite keeps the file handle of a closed connection while others are open, to use it again: as many as there were
# connections at once, of which Prefect's server may have 15 for its requests and 15 for its services.
POOLED = 30  # handles of Prefect's database that there may be more by then
ROWS = 0.1  # by which the rows of a training in the last third may differ from those in the second
_REST_SECONDS = 6.0  # Prefect's server writes events every 5 s


def flat(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Train by a schedule again and again; memory, processes, files and rows of a training stay what they were."""
    world, runs = worlds.copy(folder), RUNS.get(seed, HOUR)
    put_in_use(world, Registry.GOOD)
    home = Home(world, free_port())
    schedule = Scheduled(home, *SAMPLE, "--recipe", "tutorial", *QUICK, "--train", "off", "--housekeeping", "off")
    try:
        schedule.until_says("Prefect UI")
        with _asked(world) as answers:
            measured = []
            for number in range(1, runs + 1):
                done = home.run("trigger", "train", "--set", f"seed={1_000 + number}")
                assert done.returncode == 0, done.stderr
                if number % (runs // 3) == 0:
                    wait_until(lambda: not _trains(schedule), "the training's process to end")  # noqa: B023
                    measured.append(_measure(world, schedule))
    finally:
        code = schedule.ends(SIGINT)
    assert code == 0, schedule.output[-2_000:]
    first, second, last = measured
    spare = {"processes": SPARE, "files open": SPARE, "files left": SPARE, "handles of the database": POOLED}
    for name, more in spare.items():
        assert last[name] <= first[name] + more, f"{name}: {[each[name] for each in measured]}"
    assert last["megabytes"] <= first["megabytes"] + MEGABYTES, f"{[each['megabytes'] for each in measured]} MB"
    for name in ("rows of MLflow", "rows of Prefect"):
        before, after = second[name] - first[name], last[name] - second[name]
        assert abs(after - before) <= ROWS * before, f"{name}: {before}, then {after} in as many trainings"
    assert len(versions_of(connect(world.settings), NAME)) == 3 + runs
    assert answers and set(answers) == {200}, f"the service answered {sorted(set(answers))}"
    check_whole(world, Registry.GOOD)
    return {"trainings": runs, "answers": len(answers), "MB more": last["megabytes"] - first["megabytes"]}


def _processes(schedule: Scheduled) -> list[dict[str, Any]]:
    """Command, memory and open files of the schedule and of all below it that have not ended."""
    found = []
    for each in [top := psutil.Process(schedule.process.pid), *top.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found.append(each.as_dict(["cmdline", "memory_info"]) | {"files": _open_files(each.pid)})
    return [each for each in found if each["cmdline"]]


def _open_files(pid: int) -> list[str]:
    """What a process has open: files, pipes and sockets."""
    found = []
    for handle in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
            found.append(str(handle.readlink()))
    return found


def _trains(schedule: Scheduled) -> bool:
    return any("prefect.engine" in each["cmdline"] for each in _processes(schedule))


def _measure(world: World, schedule: Scheduled) -> dict[str, int]:
    """What the schedule and its server use, and what lies in the folders and databases."""
    processes = _processes(schedule)
    database = str(world.root / "prefect" / "prefect.db")
    files = [file == database for each in processes for file in each["files"]]
    return {
        "processes": len(processes),
        "megabytes": sum(each["memory_info"].rss for each in processes) // 1_000_000,
        "files open": files.count(False),
        "handles of the database": files.count(True),
        "files left": sum(path.is_file() for path in (world.root / "data").rglob("*")),
        "rows of MLflow": _rows(Path(str(world.settings.sqlite_file))),
        "rows of Prefect": _rows_at_rest(Path(database)),
    }


def _rows(file: Path) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables)


def _rows_at_rest(file: Path) -> int:
    """The rows once all are written: none were added for as long as the server may keep events."""

    def at_rest() -> int | None:
        before = _rows(file)
        time.sleep(_REST_SECONDS)
        return before if _rows(file) == before else None

    return wait_until(at_rest, "Prefect's server to write its events")


@contextmanager
def _asked(world: World) -> Iterator[list[int]]:
    """Serve the champion and ask it ten times a second; gives the statuses of its answers."""
    port = free_port()
    process = start(world, "sentiflow", "serve", *SAMPLE, "--port", str(port))
    try:
        wait_until(lambda: _ready(port), "the service to answer")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            question = {"text": "The acting was dull."}
            with repeated(lambda: client.post("/predict", json=question).status_code, 0.1) as answers:
                yield answers
    finally:
        process.send_signal(SIGINT)
        process.wait()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=60).status_code == 200
    except httpx.TransportError:
        return False


_WAIT = "    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)\n"
F15 = Case(
    "F15",
    "A schedule that trains again and again, with a service beside it, grows only by what a training leaves.",
    f"A schedule trains {RUNS[0]} times in the first try and {HOUR} times in every other, while the service gets "
    "a request every tenth of a second. Measured after each third: the memory, processes and open files of the "
    "schedule and its server, the files in the data folder, and the rows of both databases, once Prefect's "
    "server has written all events. Allowed are, "
    f"from the first third to the last, {MEGABYTES} MB and {SPARE} processes, open files or files left more (but "
    f"{POOLED} handles of Prefect's database: SQLite keeps as many as there were connections at once); the "
    f"last third may add up to {ROWS:.0%} more or fewer rows than the second.",
    flat,
    short=0,
    long=2,
    reds=(
        Red(
            "a training leaves a file", "sentiflow/training/open_run.py",
            "        shutil.rmtree(run.work, ignore_errors=True)\n\n\n@contextmanager\ndef child_run(",
            "        shutil.rmtree(run.work, ignore_errors=True)\n"
            "        (run.settings.data_dir / run.run_id).touch()\n\n\n@contextmanager\ndef child_run(",
            "files left",
        ),
        Red(
            "the schedule opens ten files each second", "sentiflow/operations/due_runs.py", _WAIT,
            "    kept = []\n    while not (running.done() or stop.is_set()):\n        await asyncio.sleep(1)\n"
            "        kept += [open(os.devnull) for _ in range(10)]\n", "files open: [",
        ),
        Red(
            "the schedule takes 2 MB each second", "sentiflow/operations/due_runs.py", _WAIT,
            "    kept = []\n    while not (running.done() or stop.is_set()):\n        await asyncio.sleep(1)\n"
            '        kept.append(bytearray(b"x" * 2_000_000))\n', "] MB",
        ),
    ),
)  # fmt: skip
