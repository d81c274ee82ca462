import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from flows.train import train
from sentiflow import locks
from sentiflow.errors import BusyError, UsageError, WorldError
from sentiflow.locks import SharedLock, champion_lock, check_free, key_of, training_lock
from sentiflow.recipes import load_recipe
from sentiflow.settings import Settings
from sentiflow.tracking.client import connect, experiment_id
from tests.postgres import Postgres
from tests.sentiflow.test_locks import line_with, process
from tests.servers import free_port
from tests.world import World

LOGGER = logging.getLogger("lock")
QUICK = load_recipe("seed", ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    made = Postgres(tmp_path_factory.mktemp("shared"), free_port())
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "GRACE", 0.0)
    monkeypatch.setattr(locks, "_BEAT", 0.1)
    monkeypatch.setattr(locks, "_POLL", 0.1)


def machine(folder: Path, server: Postgres) -> Settings:
    """The settings of a machine of its own: nothing but the server is shared."""
    return Settings(data_dir=folder, lock_url=SecretStr(server.address))


def until(happened: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def test_trainings_of_one_model_on_two_machines_exclude_each_other_and_others_do_not(
    server: Postgres, tmp_path: Path
) -> None:
    here, there = machine(tmp_path / "here", server), machine(tmp_path / "there", server)
    with training_lock("mine", here):
        with pytest.raises(BusyError, match=r"Another training of mine is running: training, process \d+ on "):
            check_free("mine", there)
        with pytest.raises(
            BusyError, match=r"Another training of mine is running: training, process \d+ on .*since 20"
        ):
            training_lock("mine", there).__enter__()
        with training_lock("other", there), champion_lock("mine", there):
            pass
    check_free("mine", there)
    with training_lock("mine", there):
        pass


def test_the_lock_of_a_killed_process_goes_to_who_waits(server: Postgres, world: World, tmp_path: Path) -> None:
    with process(world, SENTIFLOW_LOCK_URL=server.address) as holder:
        line_with("held", holder)
        got = threading.Event()

        def train() -> None:
            with training_lock("mine", machine(tmp_path / "there", server), patience=100):
                got.set()

        thread = threading.Thread(target=train)
        thread.start()
        assert not got.wait(0.5)
        holder.send_signal(signal.SIGKILL)
        thread.join(30)
        assert got.is_set()


def test_a_restart_of_the_server_gives_the_lock_back_to_its_holder_and_not_to_who_waits(
    server: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(locks, "GRACE", 3.0)
    holder, waiter = (SharedLock(server.address, "restart", "training", LOGGER) for _ in range(2))
    holder.take(0, "Another training")
    got = threading.Event()
    thread = threading.Thread(target=lambda: (waiter.take(100, "Another training"), got.set()))
    thread.start()
    until(lambda: "Waiting up to 100 s" in caplog.text)
    server.stop()
    server.start()
    until(lambda: "again after" in caplog.text)
    assert holder.lost_to is None and not got.is_set()
    holder.release()
    thread.join(30)
    assert got.is_set()
    waiter.release()
    assert "not held at the end" not in caplog.text


@contextmanager
def taken_over(server: Postgres, name: str) -> Iterator[None]:
    """Wait for the lock of this name, break its holder's session, and keep it in its stead."""
    mine = "FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = %s"
    with (
        psycopg.connect(server.address, autocommit=True, application_name="sentiflow training, on b") as other,
        psycopg.connect(server.address, autocommit=True) as admin,
    ):  # fmt: skip
        until(lambda: admin.execute(f"SELECT 1 {mine} AND granted", (key_of(name),)).fetchone())
        queue = threading.Thread(target=other.execute, args=("SELECT pg_advisory_lock(%s)", (key_of(name),)))
        queue.start()
        until(lambda: admin.execute(f"SELECT 1 {mine} AND NOT granted", (key_of(name),)).fetchone())
        admin.execute(f"SELECT pg_terminate_backend(pid) {mine} AND granted", (key_of(name),))
        queue.join(30)
        yield


def test_a_lock_that_another_took_while_the_session_was_broken_is_told_loudly(
    server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    lock = SharedLock(server.address, "lost", "training", LOGGER)
    lock.take(0, "Another training")
    with taken_over(server, "lost"):
        until(lambda: lock.lost_to)
        assert lock.lost_to is not None and lock.lost_to.startswith("training, on b, since 20")
        lock.release()
    assert "LOST the shared lock of lost" in caplog.text
    assert "not held at the end" in caplog.text


def test_a_run_is_closed_from_another_machine_and_one_that_lost_its_lock_says_so(
    server: Postgres, world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIFLOW_LOCK_URL", server.address)
    client = connect(world.settings)
    tags = {"registered_model": "sample-sentiment", "lock": "shared:sample-sentiment"}  # a killed machine's
    left = client.create_run(experiment_id(client, world.settings), tags=tags).info.run_id
    ended = threading.Event()

    def take_over() -> None:
        with taken_over(server, "sample-sentiment"):
            ended.wait(120)

    thief = threading.Thread(target=take_over)
    thief.start()
    try:
        run = client.get_run(train(QUICK, "sample").run_id)
    finally:
        ended.set()
        thief.join(30)
    assert client.get_run(left).info.status == "KILLED"
    assert (run.info.status, run.data.tags["lock"]) == ("FINISHED", "shared:sample-sentiment")
    assert run.data.tags["lock.lost_to"].startswith("training, on b, since 20")


def test_who_waits_outlasts_a_server_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Postgres(tmp_path, free_port())
    with pytest.raises(WorldError, match="SENTIFLOW_LOCK_URL failed: connection failed"):
        training_lock("mine", machine(tmp_path / "a", server)).__enter__()
    lock = SharedLock(server.address, "mine", "training", LOGGER)
    thread = threading.Thread(target=lock.take, args=(100, "Another training"))
    thread.start()
    until(lambda: "Waiting up to" in caplog.text)
    server.start()
    try:
        thread.join(30)
        assert not thread.is_alive()
        lock.release()
    finally:
        server.stop()


def test_no_message_tells_the_password(caplog: pytest.LogCaptureFixture) -> None:
    for address in ("postgresql://me:s3cr3t@127.0.0.1:1/db", "postgresql://me:s3cr3t@127.0.0.1:x/?a=b%"):
        with pytest.raises((WorldError, UsageError)) as caught:
            SharedLock(address, "mine", "training", LOGGER).take(0, "Another training")
        assert "s3cr3t" not in str(caught.value) + caplog.text + repr(caught.value.__cause__)


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match="psycopg") as caught:
        SharedLock("postgresql://db/x", "mine", "training", LOGGER).take(0, "Another training")
    assert "pip install 'sentiflow[team]'" in caught.value.hint
