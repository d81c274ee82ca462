"""A local store that another process holds locked is waited for, and then named as what it is."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from sentiflow.errors import ExternalError
from sentiflow.store import sqlite
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.find import open_store
from sentiflow.store.sqlite import query
from tests.world import World

COUNT = "SELECT count(*) FROM experiments"


@contextmanager
def locked(file: Path, seconds: float | None = None) -> Iterator[None]:
    """Hold a lock of the database for seconds, or until the block ends."""
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            begun.set()
            done.wait(seconds)
            other.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def file(world: World) -> Path:
    return world.root / "mlruns" / "mlflow.db"


@pytest.fixture
def client(world: World) -> MlflowClient:
    client = connect(world.settings)
    experiment_id(client, world.settings)
    return client


def test_who_reads_and_who_writes_waits(world: World, file: Path, client: MlflowClient) -> None:
    run = client.create_run("1").info.run_id
    with locked(file, 0.5):
        assert len(open_store(world.settings).runs()) == 1
    with locked(file, 0.5):
        client.log_batch(run, metrics=[Metric("train/loss", 0.5, 1, 1)])
    assert client.get_run(run).data.metrics == {"train/loss": 0.5}


@pytest.mark.parametrize("what", ["query", "connect"])
def test_what_stays_locked_is_named(world: World, file: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.5)
    monkeypatch.setattr("sentiflow.store.client._clients", {})  # as in a new process
    with locked(file), pytest.raises(ExternalError, match="Another process has held the store") as caught:
        query(file, COUNT) if what == "query" else connect(world.settings)
    assert caught.value.exit_code == 3


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
    file.write_bytes(damaged := file.read_bytes()[:kept].ljust(40_000, b"x"))
    for ask in (lambda: open_store(world.settings).models(), lambda: connect(world.settings)):
        with pytest.raises(ExternalError, match="malformed|is not a database") as caught:
            ask()
        assert "restore a backup" in caught.value.hint
    assert file.read_bytes() == damaged
