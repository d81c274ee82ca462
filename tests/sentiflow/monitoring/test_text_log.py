import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sentiflow.monitoring.text_log import SCORED, SERVED, Entry, TextLog, locked, read_seen, unread, write_seen
from tests.world import ROOT

MODEL = "sample-sentiment"

# A process that writes numbered texts of a thousand characters until it is told to stop.
WRITER = """
import sys
from pathlib import Path
from sentiflow.monitoring.text_log import SERVED, Entry, TextLog
log, name, number = TextLog(Path(sys.argv[1]), int(sys.argv[2])), sys.argv[3], int(sys.argv[4])
for first in range(0, number, 10):
    log.append([Entry("", SERVED, "sample-sentiment", 1, 0.5, f"{name} {k} " + "x" * 1000) for k in range(first, first + 10)])
    print(first, flush=True)
"""  # noqa: E501


def entry(text: str, model: str = MODEL, source: str = SERVED) -> Entry:
    return Entry("2026-01-01T00:00:00.000+00:00", source, model, 3, 0.25, text)


def read(folder: Path, model: str = MODEL) -> tuple[list[str], int]:
    """Every text that nobody has seen, and how many lines were none; the bookmark moves."""
    with unread(folder, model, read_seen(folder, model)) as found:
        texts = [one.text for one in found.entries()]
    write_seen(folder, model, found.seen)
    return texts, found.skipped


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.jsonl"))


def writer(folder: Path, most: int, name: str, number: int) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", WRITER, str(folder), str(most), name, str(number)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_text_is_read_as_it_was_written(tmp_path: Path) -> None:
    texts = ["plain", "two\nlines\r\n", "naïve 電影 \u2028", '"quoted" \\ {}', "half a pair \ud83d", ""]
    written = [entry(text, source=SCORED) for text in texts]
    assert TextLog(tmp_path / "log", 10_000).append(written) == 6
    with unread(tmp_path / "log", MODEL, {}) as found:
        assert list(found.entries()) == written


def test_making_a_log_makes_no_folder(tmp_path: Path) -> None:
    TextLog(tmp_path / "log", 10_000)
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_may_read_the_texts(tmp_path: Path) -> None:
    TextLog(tmp_path / "log", 10_000).append([entry("private")])
    modes = {path.stat().st_mode & 0o077 for path in [tmp_path / "log", *(tmp_path / "log").rglob("*")]}
    assert modes == {0}


def test_what_was_seen_is_not_read_again_and_what_comes_later_is(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 10_000)
    log.append([entry("first"), entry("second")])
    assert read(tmp_path) == (["first", "second"], 0)
    assert read(tmp_path) == ([], 0)
    log.append([entry("third")])
    assert read(tmp_path) == (["third"], 0)


def test_each_model_has_its_own_texts(tmp_path: Path) -> None:
    TextLog(tmp_path, 10_000).append([entry("a", "imdb-sentiment"), entry("b"), entry("c", "imdb-sentiment")])
    assert read(tmp_path, "imdb-sentiment") == (["a", "c"], 0)
    assert read(tmp_path) == (["b"], 0)
    assert read(tmp_path, "other-sentiment") == ([], 0)


def test_the_oldest_texts_of_all_models_go_first(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 16_000)  # segments of 1,000 bytes
    for k in range(10):
        log.append([entry(f"old {k} " + "x" * 500, "imdb-sentiment")])
    for k in range(25):
        log.append([entry(f"new {k} " + "x" * 500)])
        assert size(tmp_path) <= 16_000
    old, new = read(tmp_path, "imdb-sentiment")[0], read(tmp_path)[0]
    assert old == []
    numbers = [int(text.split()[1]) for text in new]
    assert numbers == list(range(numbers[0], 25)) and len(numbers) > 20  # the latest, without a gap


def test_a_text_longer_than_the_log_is_left_out(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 1_000)
    assert log.append([entry("kept"), entry("x" * 1_000), entry("kept, too")]) == 2
    assert read(tmp_path) == (["kept", "kept, too"], 0)


def test_several_writers_tear_no_line_lose_none_and_hold_the_bound(tmp_path: Path) -> None:
    writers = [writer(tmp_path, 10_000_000, name, 300) for name in ("a", "b", "c")]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    texts, skipped = read(tmp_path)
    assert skipped == 0
    told = [(text.split()[0], int(text.split()[1])) for text in texts]
    assert sorted(told) == [(name, k) for name in ("a", "b", "c") for k in range(300)]


def test_several_writers_hold_the_bound_together(tmp_path: Path) -> None:
    writers = [writer(tmp_path, 200_000, name, 300) for name in ("a", "b", "c")]
    while any(process.poll() is None for process in writers):
        with locked(tmp_path):  # between two writes
            assert size(tmp_path) <= 200_000
    texts, skipped = read(tmp_path)
    assert skipped == 0
    assert 150 <= len(texts) <= 182  # lines of about 1,100 bytes; a sixteenth may just have gone


def test_a_killed_writer_leaves_a_torn_line_that_is_counted_once(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 10_000)
    log.append([entry("before")])
    (segment,) = tmp_path.rglob("*.jsonl")
    with segment.open("ab") as stream:
        stream.write(entry("torn by a kill").to_line()[:40])
    assert read(tmp_path) == (["before"], 1)
    assert read(tmp_path) == ([], 0)
    log.append([entry("after")])
    assert read(tmp_path) == (["after"], 0)


def test_a_torn_line_in_the_middle_takes_no_other_with_it(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 10_000)
    log.append([entry("before")])
    (segment,) = tmp_path.rglob("*.jsonl")
    with segment.open("ab") as stream:
        stream.write(entry("torn by a kill").to_line()[:40])
    log.append([entry("after")])
    assert read(tmp_path) == (["before", "after"], 1)


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"null", b"\xff", b'{"text": 1}', b'{"text": "no more"}'])
def test_a_line_that_is_no_text_is_skipped(tmp_path: Path, line: bytes) -> None:
    log = TextLog(tmp_path, 10_000)
    log.append([entry("before")])
    (segment,) = tmp_path.rglob("*.jsonl")
    with segment.open("ab") as stream:
        stream.write(line + b"\n")
    log.append([entry("after")])
    assert read(tmp_path) == (["before", "after"], 1)


def test_a_writer_killed_in_the_middle_holds_nobody_up(tmp_path: Path) -> None:
    process = writer(tmp_path, 10_000_000, "killed", 100_000)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    TextLog(tmp_path, 10_000_000).append([entry("after")])
    texts, skipped = read(tmp_path)
    assert skipped <= 1
    assert texts[-1] == "after" and len(texts) >= 41


def test_texts_that_are_pushed_out_meanwhile_are_still_read(tmp_path: Path) -> None:
    log = TextLog(tmp_path, 5_000)
    log.append([entry("about to go")])
    with unread(tmp_path, MODEL, {}) as found:
        log.append([entry("x" * 4_800)])
        assert [one.text for one in found.entries()] == ["about to go"]
    assert len(list(tmp_path.rglob("*.jsonl"))) == 1


def test_a_clock_that_was_put_back_keeps_the_newest_texts(tmp_path: Path) -> None:
    (tmp_path / MODEL).mkdir()
    ahead = tmp_path / MODEL / f"{2**62:020d}.jsonl"  # begun in the year 2116
    ahead.write_bytes(entry("x" * 1_500).to_line())
    log = TextLog(tmp_path, 3_000)
    for k in range(4):
        log.append([entry(f"{k} " + "x" * 400)])
    texts, _ = read(tmp_path)
    assert texts[-1].startswith("3 ")
    assert not ahead.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', "null"])
def test_a_damaged_bookmark_reads_all_again_rather_than_nothing(tmp_path: Path, content: str) -> None:
    TextLog(tmp_path, 10_000).append([entry("text")])
    (tmp_path / MODEL / ".seen.json").write_text(content)
    assert read(tmp_path) == (["text"], 0)
    assert json.loads((tmp_path / MODEL / ".seen.json").read_text())


def test_a_log_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        TextLog(tmp_path / "file" / "log", 10_000).append([entry("text")])


def test_a_full_disk_leaves_earlier_texts_readable(tmp_path: Path) -> None:
    """The kernel's limit on a file's size stands in for a disk: what it lets through is torn."""
    log = "from sentiflow.monitoring.text_log import *; import resource, signal; from pathlib import Path\n"
    log += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    log += f"log = TextLog(Path({str(tmp_path)!r}), 10_000_000)\n"
    log += "log.append([Entry('', 'served', 'sample-sentiment', 1, 0.5, 'before')])\n"
    log += "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))\n"
    log += "try: log.append([Entry('', 'served', 'sample-sentiment', 1, 0.5, 'x' * 5_000)])\n"
    log += "except OSError: print('told')\n"
    done = subprocess.run(
        [sys.executable, "-c", log], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "told\n"
    TextLog(tmp_path, 10_000_000).append([entry("after")])
    assert read(tmp_path) == (["before", "after"], 1)
