"""A local store that another process holds locked is waited for, and then named as what it is."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from sentiflow.errors import ExternalError
from sentiflow.store import sqlite
from sentiflow.store.client import connect, experiment_id, tracking_errors
from sentiflow.store.find import open_store
from sentiflow.store.sqlite import query
from tests.world import World

SECONDS = 0.7  # more than three further attempts, see `_short_attempts`
COUNT = "SELECT count(*) FROM experiments"


class Told(logging.Handler):
    """Notices when a log line says that something is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "waiting for" in record.getMessage():
            self.event.set()


@contextmanager
def locked(file: Path, seconds: float | None = None, how: str = "EXCLUSIVE") -> Iterator[None]:
    """Hold a lock of the database until the block ends, or for seconds after somebody has said to wait for it."""
    done, begun, told = threading.Event(), threading.Event(), Told()

    def hold() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute(f"BEGIN {how}")
            if how == "DEFERRED":
                other.execute(COUNT).fetchall()  # a reader: nobody can commit
            begun.set()
            if seconds is not None:
                told.event.wait(60)
            done.wait(seconds)
            other.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    logging.getLogger().addHandler(told)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(told)
        told.event.set()
        done.set()
        thread.join()


@pytest.fixture(autouse=True)
def _short_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_ATTEMPT", 0.2)


@pytest.fixture
def file(world: World) -> Path:
    return world.root / "mlruns" / "mlflow.db"


@pytest.fixture
def client(world: World) -> MlflowClient:
    client = connect(world.settings)
    experiment_id(client, world.settings)
    return client


def waits(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "waiting for" in record.message]


def test_readers_wait_and_say_so_once(world: World, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with locked(file, SECONDS):
        assert open_store(world.settings).runs() == []
    (told,) = waits(caplog)
    assert told == f"waiting for {file}: another process holds it locked (up to 60 s)"


@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE", "DEFERRED"])
def test_what_writes_waits_and_says_so_once(
    client: MlflowClient, file: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Red if MLflow's connections have no patience of ours: it says nothing, and gives up after 20 s."""
    run = client.create_run("1").info.run_id
    with locked(file, SECONDS, how):
        client.log_batch(run, metrics=[Metric("train/loss", 0.5, 1, 1)])
    assert client.get_run(run).data.metrics == {"train/loss": 0.5}
    assert len(waits(caplog)) == 1


def test_a_store_that_is_locked_at_the_start_is_waited_for(
    world: World, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(file, SECONDS):
        assert connect(world.settings).search_experiments()
    assert len(waits(caplog)) == 1


def test_two_writers_that_wait_for_each_other_both_get_through(client: MlflowClient, world: World) -> None:
    """Red if a statement within a transaction is tried again and again: each then waits for the other."""
    runs = [client.create_run("1").info.run_id for _ in range(4)]

    def write(run: str) -> None:
        own = MlflowClient(world.settings.tracking_uri)
        for step in range(20):
            own.log_batch(run, metrics=[Metric("loss", 1.0, step, step)])

    threads = [threading.Thread(target=write, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert [len(client.get_metric_history(run, "loss")) for run in runs] == [20] * 4


@pytest.mark.parametrize("what", ["query", "connect", "write"])
def test_what_stays_locked_is_named(
    world: World, client: MlflowClient, file: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.5)
    monkeypatch.setattr("sentiflow.store.client._clients", {})  # as in a new process
    with locked(file), pytest.raises(ExternalError, match="Another process has held the store") as caught:
        if what == "query":
            query(file, COUNT)
        elif what == "connect":
            connect(world.settings)
        else:
            with tracking_errors(world.settings.tracking_uri):
                client.create_run("1")
    assert caught.value.exit_code == 3
    assert caught.value.hint == "Wait for that process to end, or stop it, and run again."
    assert query(file, COUNT) == [(2,)]


def test_an_interrupt_ends_the_wait(world: World, file: Path) -> None:
    """Red if SQLite itself waits the whole minute: it hears no interrupt."""
    with locked(file):
        process = subprocess.Popen(
            [sys.executable, "-c", "from sentiflow.store.sqlite import *; "
             f"query(Path({str(file)!r}), {COUNT!r})"],
            stderr=subprocess.PIPE, env={**os.environ, **world.variables},
        )  # fmt: skip
        assert process.stderr is not None
        assert b"waiting for" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert time.monotonic() - began < 20


@pytest.fixture(autouse=True)
def _hear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def test_what_a_killed_process_left_half_written_is_undone_by_the_next_reader(file: Path) -> None:
    """Red if the file is opened for reading alone: SQLite must write to undo it, and refuses."""
    before = query(file, "SELECT count(*) FROM tags")
    half_written = (
        "import os, sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "connection.executescript('PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN'); "
        "connection.executemany('INSERT INTO tags VALUES (?, ?, ?)', "
        "((f'k{k}', 'v' * 2000, 'r') for k in range(3000))); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", half_written, str(file)], check=False)
    assert file.with_name(f"{file.name}-journal").exists()
    assert query(file, "SELECT count(*) FROM tags") == before


@pytest.mark.parametrize("kept", [0, 20_000], ids=["no database", "cut"])
def test_who_reads_and_who_writes_a_damaged_store_is_told_to_restore_a_backup(
    world: World, file: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("sentiflow.store.client._clients", {})  # as in a new process
    file.write_bytes(file.read_bytes()[:kept].ljust(40_000, b"x"))
    for ask in (lambda: open_store(world.settings).models(), lambda: connect(world.settings)):
        with pytest.raises(ExternalError, match="malformed|is not an? (SQLite )?database") as caught:
            ask()
        assert "restore a backup" in caught.value.hint
