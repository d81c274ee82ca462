"""Tests of ``sentiflow score`` as a process of its own: its words, its end, and what it leaves."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.polling import until
from tests.world import Trained, World, alive, command, refusal, telling_modules

TEXT = "The acting was fine, and the direction touching, but the ending was a mess. "
MANY = 40_000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows enough to be killed among; every thousandth has no text."""
    path = tmp_path_factory.mktemp("many") / "in.csv"
    with path.open("w") as stream:
        stream.write("id,text\n")
        for k in range(MANY):
            stream.write(f'{k},"{"" if k % 1_000 == 0 else f"{k} {TEXT * (k % 12 + 1)}"}"\n')
    return path


@pytest.fixture(scope="module")
def whole(trained: Trained, many: Path) -> pa.Table:
    """What one uninterrupted run makes of it, in one process."""
    output = many.parent / "whole.parquet"
    done = trained.world.run("score", str(many), "-o", str(output), "--keep", "id", "--workers", "1")
    assert done.returncode == 5, done.stderr
    return pq.read_table(output)


def start(world: World, *arguments: str) -> "subprocess.Popen[str]":
    """A run in the background, whose Ctrl-C works although a suite in the background ignores it."""
    return subprocess.Popen(
        [command(), "score", *arguments],
        env=world.environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def wait_for_workers(process: "subprocess.Popen[str]") -> list[int]:
    """Wait until two processes score; gives their ids."""
    until(
        lambda: len(workers_of(process)) == 2,
        "two workers",
        60,
        lambda: str(process.communicate(timeout=9)),
        process,
    )
    time.sleep(0.3)
    return workers_of(process)


def modules_of(world: World, *arguments: str) -> set[str]:
    """Top-level modules that a command has loaded when it ends."""
    python = str(Path(command()).with_name("python"))
    done = subprocess.run(
        [python, "-c", telling_modules(*arguments)],
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_run_tells_counts_speed_version_and_places_and_loads_nothing_slow(
    trained: Trained, tmp_path: Path
) -> None:
    path, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    lines = [
        '{"text": "The acting was dull."}',
        '{"text": "xyzzy"}',
        '{"text": null}',
        '{"text": 7}',
        "{",
        '{"text": null}',
    ]
    path.write_text("\n".join(lines))
    done = trained.world.run("score", str(path), "-o", str(output))
    assert (done.returncode, done.stderr) == (5, "")
    told = done.stdout.splitlines()
    assert told[0] == "2 scored, 4 rejected, 6 rows in all; 1 text holds no word that the model knows"
    assert re.fullmatch(r"\d+ reviews a second: 6 in \d\.\d s", told[1])
    assert told[2] == "Scored by sample-sentiment version 1 (newest, no champion yet)"
    assert told[3] == f"Scores:  {output}"
    assert told[4] == f"Rejects: {output.parent / 'out.csv.rejects.jsonl'} (2 no text, 1 not text, 1 not JSON)"
    loaded = modules_of(trained.world, "score", str(path), "-o", str(output))
    assert not loaded & {"mlflow", "prefect", "tensorflow", "keras", "pandas", "sklearn"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("in.csv", "-o", "out.parquet", "--text-column", "body"), "no column body; there are: id, text"),
        (("missing.csv", "-o", "out.parquet"), "missing.csv: no such file or folder"),
        (("in.csv", "-o", ""), "A path is empty."),
        (("in.csv", "-o", "out.parquet", "--model-version", "9"), "sample-sentiment has no version 9"),
    ],
)
def test_wrong_use_ends_with_2_and_leaves_nothing(
    trained: Trained, arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.world.enter(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("id,text\n1,good\n")
    error = refusal("score", *arguments)
    assert (error.exit_code, message in str(error)) == (2, True), error
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.story
def test_a_run_that_was_killed_starts_again_and_gives_what_an_uninterrupted_one_gives(
    trained: Trained, many: Path, whole: pa.Table, tmp_path: Path
) -> None:
    output = tmp_path / "out.parquet"
    arguments = (str(many), "-o", str(output), "--keep", "id", "--workers", "2")
    process = start(trained.world, *arguments)
    workers = wait_for_workers(process)
    process.kill()
    process.communicate()
    assert not output.exists()
    until(lambda: not any(map(alive, workers)), "all to end", 10)
    done = trained.world.run("score", *arguments)
    assert done.returncode == 5, done.stderr
    assert f"{MANY - 40:,} scored, 40 rejected, {MANY:,} rows in all" in done.stdout
    assert pq.read_table(output).equals(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "out.parquet.rejects.jsonl"]


@pytest.mark.story
@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_run_ends_quietly_and_leaves_no_process(
    trained: Trained, many: Path, tmp_path: Path, number: signal.Signals, whole_group: bool
) -> None:
    """Ctrl-C reaches every process of a terminal's group, `kill` one process."""
    output = tmp_path / "out.parquet"
    process = start(trained.world, str(many), "-o", str(output), "--workers", "2")
    workers = wait_for_workers(process)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    told, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert told == "" and "Traceback" not in errors
    until(lambda: not any(map(alive, workers)), "all to end", 10)
    assert not list(tmp_path.iterdir())


def peak_megabytes(world: World, path: Path) -> float:
    """Most memory that the command held, or its largest worker."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "sys.stdout.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
    )
    python = str(Path(command()).with_name("python"))
    arguments = [command(), "score", str(path), "-o", str(path.with_suffix(".scores.parquet")), "--workers", "2"]
    done = subprocess.run(
        [python, "-c", code, *arguments], env=world.environment(), capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1_024


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.story
def test_memory_does_not_grow_with_the_input(trained: Trained, tmp_path: Path, kind: str) -> None:
    """60 MB more of texts may cost 40 MB: caches of the allocator, not the texts."""
    paths = []
    for rows in (18_000, 48_000):  # with fewer, not all that is done side by side is busy
        paths.append(tmp_path / f"{rows}.{kind}")
        texts = [f"{k} {'lorem ipsum dolor sit ' * 100}" for k in range(rows)]
        if kind == "csv":
            paths[-1].write_text("text\n" + "".join(f"{text}\n" for text in texts))
        else:
            pq.write_table(pa.table({"text": texts}), paths[-1], compression="none", use_dictionary=False)
    small, large = (peak_megabytes(trained.world, path) for path in paths)
    assert paths[1].stat().st_size - paths[0].stat().st_size > 60e6
    assert large < small + 40
