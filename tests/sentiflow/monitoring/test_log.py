import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentiflow.monitoring import log as monitoring
from sentiflow.monitoring.log import SCORED, SERVED, Entry, TextLog
from tests.world import ROOT

MODEL = "sample-sentiment"
LARGE = 10_000_000  # bytes

# A process that writes numbered texts of a thousand characters.
WRITER = """
import sys
from contextlib import closing
from pathlib import Path
from sentiflow.monitoring.log import SERVED, Entry, TextLog
log, name, number = TextLog(Path(sys.argv[1]), int(sys.argv[2])), sys.argv[3], int(sys.argv[4])
for first in range(0, number, 10):
    texts = [f"{name} {k} " + "x" * 1000 for k in range(first, first + 10)]
    log.append([Entry("", SERVED, "sample-sentiment", 1, 0.5, text) for text in texts])
    print(first, flush=True)
"""


def entry(text: str, model: str = MODEL, source: str = SERVED) -> Entry:
    return Entry("2026-01-01T00:00:00.000+00:00", source, model, 3, 0.25, text)


def unchecked(folder: Path, model: str = MODEL) -> list[Entry]:
    return [one for batch in TextLog(folder, LARGE).unchecked(model) for one in batch]


def check(folder: Path, model: str = MODEL) -> list[str]:
    """Every text that no check has seen; now it has."""
    entries = unchecked(folder, model)
    if entries:
        TextLog(folder, LARGE).mark(model, id=entries[-1].id)
    return [one.text for one in entries]


def size(folder: Path) -> int:
    return (folder / "texts.db").stat().st_size


def writer(folder: Path, max_bytes: int, name: str, number: int) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", WRITER, str(folder), str(max_bytes), name, str(number)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_text_is_read_as_it_was_written_and_has_an_id(tmp_path: Path) -> None:
    TextLog(tmp_path, LARGE).append([entry("half \ud83d")])
    assert check(tmp_path) == ["half ?"]  # of a surrogate pair
    texts = ["plain", "two\nlines\r\n", "naïve 電影 \u2028", '"quoted" \\ {}', "NUL \0 inside", ""]
    written = [entry(text, source=SCORED) for text in texts]
    assert TextLog(tmp_path / "log", LARGE).append(written) == 6
    found = unchecked(tmp_path / "log")
    assert [vars(one) | {"id": 0} for one in found] == [vars(one) for one in written]
    assert [one.id for one in found] == [1, 2, 3, 4, 5, 6]


def test_nobody_else_may_read_the_texts_nor_the_journal(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "log"
    TextLog(folder, LARGE).append([entry("private")])
    with sqlite3.connect(folder / "texts.db") as db:
        db.execute("UPDATE texts SET text = 'in the journal'")
        names = {path.name for path in folder.iterdir()}
        modes = {path.stat().st_mode & 0o077 for path in [folder.parent, folder, *folder.iterdir()]}
    db.close()
    assert names == {"texts.db", "texts.db-journal"} and modes == {0}


def test_a_log_that_was_deleted_during_a_check_is_made_by_the_next_text_and_checked_from_its_first(
    tmp_path: Path,
) -> None:
    log = TextLog(tmp_path, LARGE)
    log.mark(MODEL, id=5, psi={"oov": 0.5})
    assert not log.file.exists() and log.notes()[MODEL].psi == {"oov": 0.5}
    log.append([entry("new")])
    assert check(tmp_path) == ["new"]


def plant_journal(log: TextLog, victim: Path) -> None:
    """A journal as a killed process leaves it, by which SQLite deletes a file when it repairs the log."""
    db = log.file.read_bytes()
    page = int.from_bytes(db[16:18], "big")
    magic, name, nonce = bytes.fromhex("d9d505f920a163d7"), str(victim).encode(), 12_345
    header = magic + struct.pack(">IIIII", 1, nonce, len(db) // page, 512, page)
    first = db[:page]
    record = struct.pack(">I", 1) + first + struct.pack(">I", nonce + sum(first[page - 200 : 0 : -200]))
    end = struct.pack(">I", 0x40000000 // page + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    log.file.with_name("texts.db-journal").write_bytes(header.ljust(512, b"\0") + record + end)


def test_a_check_deletes_no_file_that_a_planted_journal_names(tmp_path: Path) -> None:
    victim, log = tmp_path / "victim", TextLog(tmp_path / "log", LARGE)
    victim.write_text("precious")
    log.append([entry("text")])
    plant_journal(log, victim)
    with pytest.raises(OSError, match="killed while it wrote; the next text that is logged repairs the file"):
        list(log.unchecked(MODEL))
    log.mark(MODEL, id=1, psi={"oov": 0.5})
    assert log.notes()[MODEL].psi == {"oov": 0.5}
    assert victim.exists()


def test_a_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    victim, log = tmp_path / "victim", TextLog(tmp_path / "log", LARGE)
    log.folder.mkdir()
    log.file.symlink_to(victim)
    with pytest.raises(OSError, match=r"symbolic links.*texts\.db"):
        log.append([entry("text")])
    assert not victim.exists()


def test_what_was_checked_is_not_read_again_and_what_comes_later_is(tmp_path: Path) -> None:
    log = TextLog(tmp_path, LARGE)
    log.append([entry("first"), entry("second")])
    assert check(tmp_path) == ["first", "second"]
    assert check(tmp_path) == []
    log.append([entry("third")])
    assert check(tmp_path) == ["third"]


def test_texts_are_read_in_batches_without_those_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "_BATCH", 2)
    log = TextLog(tmp_path, LARGE)
    log.append([entry(str(k)) for k in range(5)])
    batches = []
    for batch in log.unchecked(MODEL):
        batches.append([one.text for one in batch])
        log.append([entry("later")])  # not blocked by the reader
    assert batches == [["0", "1"], ["2", "3"], ["4"]]


def test_the_oldest_texts_of_all_models_go_first(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 200_000)
    log.append([entry(f"old {k} " + "x" * 500, "imdb-sentiment") for k in range(100)])
    for first in range(0, 400, 4):
        log.append([entry(f"new {k} " + "x" * 500) for k in range(first, first + 4)])
        assert size(tmp_path) <= 200_000
    numbers = [int(text.split()[1]) for text in check(tmp_path)]
    assert numbers == list(range(numbers[0], 400)) and len(numbers) > 250  # the latest, without a gap
    assert check(tmp_path, "imdb-sentiment") == []


def test_ids_are_not_used_again(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 200_000)
    log.append([entry("x" * 1_000)] * 100)
    log.mark(MODEL, id=100)
    log.append([entry("y" * 90_000)])  # needs all of the log
    (only,) = unchecked(tmp_path)
    assert (only.id, only.text[0]) == (101, "y")


def test_several_writers_hold_the_bound_together(tmp_path: Path) -> None:
    writers = [writer(tmp_path, 300_000, name, 300) for name in ("a", "b", "c")]
    while any(process.poll() is None for process in writers):
        if (tmp_path / "texts.db").exists():
            assert size(tmp_path) <= 300_000
        time.sleep(0.005)  # the cores are the writers'
    assert [process.returncode for process in writers] == [0, 0, 0]  # none was refused a text
    assert 150 <= len(check(tmp_path)) <= 300


def test_a_killed_writer_does_not_block_others(tmp_path: Path) -> None:
    process = writer(tmp_path, LARGE, "killed", 100_000)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    TextLog(tmp_path, LARGE).append([entry("after")])
    texts = check(tmp_path)
    assert texts[-1] == "after" and len(texts) >= 51 and len(texts) % 10 == 1


def test_a_file_that_another_process_locks_for_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "_TIMEOUT", 0.1)
    log = TextLog(tmp_path, LARGE)
    log.append([entry("before")])
    other = sqlite3.connect(tmp_path / "texts.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OSError, match=r"texts\.db: database is locked"):
        log.append([entry("lost")])
    other.execute("COMMIT")
    other.close()
    log.append([entry("after")])
    assert check(tmp_path) == ["before", "after"]


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "texts.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(OSError, match=r"texts\.db: file is not a database"):
        TextLog(tmp_path, LARGE).append([entry("text")])
    with pytest.raises(OSError, match=r"texts\.db: file is not a database"):
        unchecked(tmp_path)
