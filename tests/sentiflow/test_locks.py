import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from sentiflow.errors import BusyError, UsageError
from sentiflow.locks import HOUSEKEEPING, check_free, file_lock, if_free, lock_file, lock_tag, training_lock
from tests.world import ROOT, World

HOLD = """
import logging, signal, sys, time
from sentiflow.settings import load_settings
from sentiflow.locks import training_lock
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs tests behind itself ignores it
logging.basicConfig(level=logging.INFO, format="%(message)s")
with training_lock(sys.argv[2], load_settings(), patience=float(sys.argv[1])):
    print("held", file=sys.stderr, flush=True)
    time.sleep(10_000)
"""


@contextmanager
def process(
    world: World, patience: float = 0.0, model: str = "mine", **variables: str
) -> Iterator["subprocess.Popen[str]"]:
    """A process that takes the lock of a model and keeps it until it is killed."""
    made = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(patience), model],
        env=world.environment(**variables), cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield made
    finally:
        made.kill()
        made.communicate()


def line_with(word: str, made: "subprocess.Popen[str]") -> str:
    """The next line that holds a word."""
    assert made.stderr is not None
    for line in made.stderr:
        if word in line:
            return line
    raise AssertionError(f"no line with {word!r} came")


def test_who_has_no_patience_is_told_at_once_who_holds_the_lock(world: World) -> None:
    with process(world) as holder:
        line_with("held", holder)
        with pytest.raises(
            BusyError, match=f"Another training of mine is running: training, process {holder.pid} on "
        ):
            training_lock("mine", world.settings).__enter__()


def test_a_folder_whose_files_cannot_be_locked_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", no_flock)
    with pytest.raises(UsageError, match="Files in .*locks cannot be locked"):
        training_lock("mine", world.settings).__enter__()


def test_who_waits_is_told_once_who_holds_the_lock_and_goes_on_when_that_process_is_killed(world: World) -> None:
    with process(world) as holder:
        line_with("held", holder)
        with process(world, patience=100) as waiter:
            told = line_with("Waiting up to 100 s", waiter)
            assert f"process {holder.pid} on " in told
            holder.kill()
            assert "Continued after" in line_with(" ", waiter)
            line_with("held", waiter)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_can_be_interrupted(world: World, number: signal.Signals) -> None:
    with process(world) as holder:
        line_with("held", holder)
        with process(world, patience=100) as waiter:
            line_with("Waiting", waiter)
            os.kill(waiter.pid, number)
            assert waiter.wait(20) == -number


def test_a_look_of_housekeeping_refuses_no_training(world: World) -> None:
    """Red if a training by hand ended with an error because housekeeping held its lock for a moment."""
    asked, taken = threading.Event(), threading.Event()

    def train() -> None:
        asked.set()
        with training_lock("mine", world.settings):
            taken.set()

    with if_free(lock_file("mine", world.settings), HOUSEKEEPING) as free:
        assert free
        thread = threading.Thread(target=train)
        thread.start()
        assert asked.wait(10) and not taken.wait(1.5)
    thread.join(20)
    assert taken.is_set()


def test_housekeeping_does_not_get_a_lock_that_is_held(world: World) -> None:
    with process(world) as holder:
        line_with("held", holder)
        with if_free(lock_file("mine", world.settings), HOUSEKEEPING) as free:
            assert not free
        holder.kill()
        holder.wait()
        with if_free(lock_file("mine", world.settings), HOUSEKEEPING) as free:
            assert free


def test_a_link_that_takes_the_place_of_a_lock_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, victim = tmp_path / "mine.lock", tmp_path / "victim"
    victim.write_text("precious")
    original = FileLock.acquire

    def acquire(lock: FileLock, **options: Any) -> None:
        original(lock, **options)
        path.unlink()
        path.symlink_to(victim)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(OSError, match="symbolic links"), file_lock(path, "Another training", "training"):
        pass
    assert victim.read_text() == "precious"


def test_the_tag_of_a_shared_lock_names_no_machine(world: World) -> None:
    shared = world.settings.model_copy(update={"lock_url": "any"})
    assert lock_tag("mine", shared) == "shared:mine"
    assert lock_tag("mine", world.settings).endswith(":" + str(world.root / "data" / "locks" / "mine.lock"))


def test_all_processes_give_a_data_folder_one_id(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        tags = set(pool.map(lambda _: lock_tag("mine", world.settings), range(8)))
    assert len(tags) == 1


def test_no_driver_is_loaded_without_a_shared_lock() -> None:
    code = "import sys, sentiflow.locks; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_a_check_finds_who_trains_and_waits_for_housekeeping(world: World) -> None:
    check_free("mine", world.settings)
    with process(world) as holder:
        line_with("held", holder)
        with pytest.raises(
            BusyError, match=f"Another training of mine is running: training, process {holder.pid} on "
        ):
            check_free("mine", world.settings)
        check_free("other", world.settings)
    check_free("mine", world.settings)
    with if_free(lock_file("mine", world.settings), HOUSEKEEPING):
        thread = threading.Thread(target=check_free, args=("mine", world.settings))
        thread.start()
        thread.join(1.5)
        assert thread.is_alive()
    thread.join(20)
    assert not thread.is_alive()


def test_a_training_is_not_refused_by_those_that_only_look(world: World) -> None:
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            with suppress(BusyError):
                check_free("mine", world.settings)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            with training_lock("mine", world.settings):
                pass
    finally:
        ended.set()
        for thread in threads:
            thread.join()
