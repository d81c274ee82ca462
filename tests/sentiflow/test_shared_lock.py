import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from flows.train import train
from sentiflow.errors import BusyError, ExternalError, UsageError
from sentiflow.locks import _connect, _Session, champion_lock, check_free, file_lock, key_of, training_lock
from sentiflow.settings import Settings
from sentiflow.store import LOCK
from sentiflow.store.client import connect, experiment_id
from sentiflow.training.recipes import load_recipe
from tests.postgres import Postgres
from tests.sentiflow.test_locks import line_with, process
from tests.servers import free_port
from tests.world import World

QUICK = load_recipe("tutorial", ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    made = Postgres(tmp_path_factory.mktemp("shared"), free_port())
    made.start()
    try:
        yield made
    finally:
        made.stop()


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


def test_a_lock_is_a_session_that_is_idle_while_it_is_held_and_ends_with_it(
    server: Postgres, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Red if it stays in a transaction, which servers end after a time, or is left to the garbage collector."""
    query = "SELECT state FROM pg_stat_activity WHERE application_name LIKE 'sentiflow training%'"
    gc.collect()  # what other tests left open
    recwarn.clear()
    with psycopg.connect(server.address, autocommit=True) as admin:
        with training_lock("mine", machine(tmp_path, server)):
            assert admin.execute(query).fetchall() == [("idle",)]
        until(lambda: admin.execute(query).fetchall() == [])
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


def test_either_side_notices_within_a_minute_that_the_other_is_gone(server: Postgres) -> None:
    with _connect(server.address, "a test") as connection:
        rows = [
            connection.execute(f"SHOW tcp_keepalives_{name}").fetchone() for name in ("idle", "interval", "count")
        ]
        ours = connection.info.get_parameters()
    assert [row and row[0] for row in rows] == ["30", "10", "3"]  # 30 s and three times 10 s
    assert [ours[f"keepalives_{name}"] for name in ("idle", "interval", "count")] == ["30", "10", "3"]
    assert (ours["tcp_user_timeout"], ours["connect_timeout"]) == ("60000", "10")  # milliseconds, seconds


def test_every_release_and_machine_has_the_same_number_for_a_name() -> None:
    # printf 'sentiflow mine' | sha256sum: d4ba3e3b01865a45..., less 2**64
    assert key_of("mine") == 0xD4BA3E3B01865A45 - 2**64
    assert key_of("lost") == 0x968A2D6E304E5827 - 2**64


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


def test_a_connection_that_was_lost_is_logged_at_the_end(
    server: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = machine(tmp_path / "here", server)
    with training_lock("lost", here):
        waits = _Session(server.address, "lost", "a test", logging.getLogger("sentiflow"))
        assert waits.take() is not None
        with psycopg.connect(server.address, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
                "AND (classid::bigint << 32) | objid::bigint = %s",
                (key_of("lost"),),
            )
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'a test'"
            )
        waits.release()  # it had nothing to lose
        with training_lock("lost", machine(tmp_path / "there", server), patience=30):
            pass
        assert "was lost" not in caplog.text
    assert "The connection of the shared lock of lost was lost" in caplog.text


@pytest.mark.story
def test_a_run_of_another_machine_is_closed(
    server: Postgres, world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIFLOW_LOCK_URL", server.address)
    client = connect(world.settings)
    tags = {"registered_model": "sample-sentiment", LOCK: "shared:sample-sentiment"}  # a killed machine's
    left = client.create_run(experiment_id(client, world.settings), tags=tags).info.run_id
    run = client.get_run(train(QUICK, "sample").run_id)
    assert client.get_run(left).info.status == "KILLED"
    assert (run.info.status, run.data.tags[LOCK]) == ("FINISHED", "shared:sample-sentiment")


def test_who_waits_outlasts_a_server_that_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Postgres(tmp_path, free_port())
    here = machine(tmp_path / "a", server)
    asked: list[str] = []
    original = psycopg.connect

    def connecting(url: str, **options: Any) -> Any:
        asked.append(url)
        return original(url, **options)

    monkeypatch.setattr(psycopg, "connect", connecting)
    with pytest.raises(ExternalError, match="SENTIFLOW_LOCK_URL failed: connection failed"):
        training_lock("mine", here).__enter__()
    with pytest.raises(ExternalError):
        file_lock(tmp_path / "mine.lock", "A training", "training", shared=here.lock_url).__enter__()
    assert asked == [server.address] * 2  # who has no patience asks once
    got = threading.Event()

    def train() -> None:
        with training_lock("mine", here, patience=100):
            got.set()

    thread = threading.Thread(target=train)
    thread.start()
    until(lambda: "Waiting up to 100 s" in caplog.text)
    server.start()
    try:
        thread.join(30)
        assert got.is_set()
    finally:
        server.stop()


def test_no_message_tells_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for address in ("postgresql://me:s3cr3t@127.0.0.1:1/db", "postgresql://me:s3cr3t@127.0.0.1:x/?a=b%"):
        with pytest.raises((ExternalError, UsageError)) as caught:
            training_lock("mine", Settings(data_dir=tmp_path, lock_url=SecretStr(address))).__enter__()
        assert "s3cr3t" not in str(caught.value) + caplog.text + repr(caught.value.__cause__)


def test_a_missing_driver_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match="psycopg") as caught:
        training_lock("mine", Settings(data_dir=tmp_path, lock_url=SecretStr("postgresql://db/x"))).__enter__()
    assert "requirements-team.lock" in caught.value.hint
