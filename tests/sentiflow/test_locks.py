import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from sentiflow.errors import BusyError, UsageError
from sentiflow.locks import (
    HOUSEKEEPING,
    brief_lock,
    check_free,
    if_free,
    lock_file,
    lock_tag,
    names_own_lock,
    place_of,
    training_lock,
)
from sentiflow.settings import Settings
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


def test_other_users_cannot_open_a_lock(world: World) -> None:
    """Who can open its file can hold it."""
    with training_lock("mine", world.settings):
        lock_tag("mine", world.settings)
        files = [lock_file("mine", world.settings), world.settings.data_dir / "locks" / "id.lock"]
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]


def test_a_folder_that_is_made_again_at_the_same_path_gives_other_tags(world: World) -> None:
    """Red if the run of another machine of this name could be closed from here."""
    first = lock_tag("mine", world.settings)
    assert re.fullmatch(r"[^:]+:[0-9a-f]{32}-\d+:.*/data/locks/mine\.lock", first)
    shutil.rmtree(world.settings.data_dir / "locks")
    assert lock_tag("mine", world.settings) != first
    assert not names_own_lock(first, "mine", world.settings)


def of(folder: Path) -> Settings:
    return Settings(data_dir=folder)


@pytest.mark.parametrize("folder", ["data", "x:y\nz/da:ta"])
def test_a_folder_is_known_under_other_names_of_machine_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Red if a container that is made again, with the volume at another place, knows its killed run no more."""
    tag = lock_tag("mine", of(tmp_path / folder))
    (tmp_path / folder).rename(tmp_path / "volume")
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert names_own_lock(tag, "mine", of(tmp_path / "volume"))
    assert not names_own_lock(tag, "other", of(tmp_path / "volume"))
    assert place_of(tag).endswith(f" with the data folder {tmp_path / folder}")


def test_a_copy_of_a_folder_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if two machines, the one's data folder copied from the other's, close each other's living runs."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    tag = lock_tag("mine", of(data))
    subprocess.run(["cp", "-a", data, copy], check=True)
    assert not names_own_lock(tag, "mine", of(copy))
    assert not names_own_lock(lock_tag("mine", of(copy)), "mine", of(data))
    data.rename(tmp_path / "of the first machine")
    copy.rename(data)
    assert names_own_lock(tag, "mine", of(data))  # restored in its place
    monkeypatch.setattr(socket, "gethostname", lambda: "the second machine")
    assert not names_own_lock(tag, "mine", of(data))


@pytest.mark.parametrize("tag", [None, "", "a:b", "elsewhere:/data/locks/mine.lock", "a:b:c:d:e", "shared:mine"])
def test_another_tag_names_no_lock_of_here(world: World, tag: str | None) -> None:
    assert not names_own_lock(tag, "mine", world.settings)
    assert place_of(tag) == "elsewhere"


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
            assert re.fullmatch(r"Continued after \d{1,2} s of waiting\.\n", line_with(" ", waiter))
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


def test_all_processes_give_a_data_folder_one_id(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        tags = set(pool.map(lambda _: lock_tag("mine", world.settings), range(8)))
    assert len(tags) == 1


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


def test_a_brief_lock_is_private_and_waiting_for_it_is_logged_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Red if another user, or a process that hangs, could stop others for good without a word."""
    monkeypatch.setattr("sentiflow.locks._BRIEF_STEP", 1.6)
    lock = tmp_path / "step.lock"
    with FileLock(lock), pytest.raises(BusyError, match="is running"), brief_lock(lock, "Another step"):
        pass
    assert [message for message in caplog.messages if "Waiting up to 2 s" in message]
    fresh = tmp_path / "fresh.lock"
    with brief_lock(fresh, "Another step"):
        assert fresh.stat().st_mode & 0o777 == 0o600


def test_no_lock_is_made_but_by_the_one_helper() -> None:
    """Red if a new lock were open to all, and waited for without a word and without an end."""
    code = [path for folder in ("sentiflow", "tasks", "flows") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in code if "FileLock(" in path.read_text()] == ["locks.py"]
