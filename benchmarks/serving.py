"""Load ``sentiflow serve`` and ``mlflow models serve`` in turns, and write the table in docs/speed.md.

    python -m benchmarks.serving [--write]

Both serve the same version, the champion or the newest of imdb in the store of the settings, on this machine, one
after the other in each round. `wrk` (Debian's package of that name) posts test reviews, one a request. Two paths
of one service are loaded in short turns, so that a busy moment of a shared machine meets both.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from mlflow.tracking import MlflowClient

from benchmarks import machine, table
from sentiflow.data import prepare, reviews
from sentiflow.settings import load_settings
from sentiflow.store.find import find_version
from sentiflow.store.records import CHAMPION, Version

BEGIN, END = "<!-- make bench-use writes the serving table from here -->", "<!-- to here, the serving table -->"
CONNECTIONS = (1, 8, 32)
REVIEWS = 300
TURNS = 4
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Load:
    """What wrk saw; milliseconds, and failures of any kind."""

    requests: int
    a_second: float
    refused: int
    failed: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Contender:
    """A service: its command, which ends with the port, and by path the body of one review."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    alive: str
    bodies: dict[str, Callable[[str], object]]


@dataclass(frozen=True)
class Round:
    """One start of one service: seconds until it answers, megabytes at most, and loads by path and connections."""

    ready: float
    megabytes: float
    loads: dict[tuple[str, int], Load]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of load, for each path and number of connections")
    parser.add_argument("--write", action="store_true", help="write the table in docs/speed.md")
    chosen = parser.parse_args()
    rounds: dict[str, list[Round]] = {}
    version = find_version(load_settings(), "imdb-sentiment", None)
    with tempfile.TemporaryDirectory() as folder:
        store, texts = copied_registry(Path(folder), version), some_reviews()
        for number in range(chosen.rounds):
            for contender in contenders(version, store):
                found = measure(contender, Path(folder), texts, chosen.seconds)
                rounds.setdefault(contender.name, []).append(found)
                machine.log(f"round {number + 1}, {contender.name}: {found}")
    text = render(rounds, machine.describe(), f"{datetime.now(UTC):%Y-%m-%d}")
    machine.log(text)
    if chosen.write:
        table.put_into(table.SPEED_PAGE, text, BEGIN, END)


def copied_registry(folder: Path, version: Version) -> str:
    """A copy of the local store in which the version is champion: ours serves no other."""
    file = load_settings().sqlite_file
    if file is None:
        raise SystemExit("needs a local store; unset SENTIFLOW_TRACKING_URI")
    shutil.copyfile(file, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri, uri).set_registered_model_alias(version.name, CHAMPION, str(version.number))
    return uri


def some_reviews() -> list[str]:
    """Every so many-th test review, as text."""
    settings = load_settings()
    prepared = prepare.prepare(prepare.fetch("imdb", settings), settings)
    test, vocabulary = reviews.read(prepared.table).of("test"), reviews.read_vocabulary(prepared.table)
    return [vocabulary.decode(ids, unknown="") for ids in test.tokens[:: len(test) // REVIEWS]]


def contenders(version: Version, store: str) -> tuple[Contender, ...]:
    own = {"SENTIFLOW_TRACKING_URI": store}
    theirs = {"MLFLOW_TRACKING_URI": store, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    sentiflow = [str(BIN / "sentiflow"), "serve", "--dataset", version.name.removesuffix("-sentiment"), "--port"]
    two = [*sentiflow[:2], "--workers", "2", *sentiflow[2:]]
    logged = {
        **own,
        "SENTIFLOW_PREDICTION_LOG_DIR": str(Path(store.removeprefix("sqlite:///")).with_name("texts")),
    }
    uri = f"models:/{version.name}/{version.number}"
    mlflow = [str(BIN / "mlflow"), "models", "serve", "--env-manager", "local", "--model-uri", uri, "--port"]

    predict = {"/predict": lambda text: {"text": text}}
    invocations = {"/invocations": lambda text: {"dataframe_split": {"columns": ["text"], "data": [[text]]}}}
    return (
        Contender("`sentiflow serve`", sentiflow, own, "/readyz", {**predict, **invocations}),
        Contender("the same, with the text log", sentiflow, logged, "/readyz", predict),
        Contender("the same, `--workers 2`", two, own, "/readyz", predict),
        Contender("`mlflow models serve`", mlflow, theirs, "/ping", invocations),
    )


def measure(
    contender: Contender,
    folder: Path,
    texts: Sequence[str],
    seconds: int,
    connections: Iterable[int] = CONNECTIONS,
) -> Round:
    """Start, load each path with each number of connections, and end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    files = {}
    for path, body in contender.bodies.items():
        files[path] = folder / f"bodies-{path.removeprefix('/')}"
        files[path].write_text("\n".join(json.dumps(body(text)) for text in texts), encoding="utf-8")
    began = time.perf_counter()
    process = subprocess.Popen(
        [*contender.command, str(port)], env={**os.environ, **contender.environment}, cwd=folder,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        wait(address + contender.alive, process)
        ready = time.perf_counter() - began
        loads: dict[tuple[str, int], list[Load]] = {}
        for path, file in files.items():
            load(address + path, file, 8, 2)  # warm
        for number, _, (path, file) in itertools.product(connections, range(TURNS), files.items()):
            loads.setdefault((path, number), []).append(load(address + path, file, number, seconds // TURNS))
        return Round(ready, megabytes(process.pid), {at: _median(turns) for at, turns in loads.items()})
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait(address: str, process: "subprocess.Popen[bytes]", seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"the service of {address} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise SystemExit(f"{address} did not answer")


def load(address: str, bodies: Path, connections: int, seconds: int) -> Load:
    """One run of wrk."""
    script = Path(__file__).with_name("load.lua")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), address]
    done = subprocess.run([*command, "--", str(bodies)], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("FIGURES "))
    requests, microseconds, refused, failed, *percentiles = map(int, line.split()[1:])
    return Load(requests, requests / microseconds * 1e6, refused, failed, *(value / 1000 for value in percentiles))


def megabytes(starter: int) -> float:
    """Peak memory of a process and of all that it has started, added up."""
    peaks = 0
    for process in (one := psutil.Process(starter), *one.children(recursive=True)):
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        peaks += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return peaks / 1000


def render(rounds: dict[str, list[Round]], where: str, date: str) -> str:
    """Markdown of the medians."""
    middle = {
        (name, *at): _median([one.loads[at] for one in each])
        for name, each in rounds.items()
        for at in each[0].loads
    }
    lines = [
        "| | path | connections | requests a second | p50 | p95 | p99 | failed |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (name, path, connections), found in middle.items():
        lines.append(
            f"| {name} | `{path}` | {connections} | {found.a_second:,.0f} "
            f"| {found.p50:.1f} ms | {found.p95:.1f} ms | {found.p99:.1f} ms "
            f"| {found.refused + found.failed} of {found.requests:,} |"
        )
    ours, *_, theirs = rounds
    most = CONNECTIONS[-1]
    ratio = middle[ours, "/predict", most].a_second / middle[theirs, "/invocations", most].a_second
    starts = (
        f"{name} answers after {statistics.median(one.ready for one in each):.1f} s and takes "
        f"{statistics.median(one.megabytes for one in each):.0f} MB at most"
        for name, each in rounds.items()
    )
    text = f"With {most} connections {ratio:.1f} times as many requests a second. {'; '.join(starts)}."
    note = f"Medians of {len(rounds[ours])} rounds, in turns, one test review a request, on {date}. {where}."
    return "\n".join([*lines, "", text, "", note])


def _median(loads: list[Load]) -> Load:
    """Medians of the figures; of requests and failures the sum: none is left out."""
    figures = ("p50", "p95", "p99", "a_second")
    sums = {name: sum(getattr(one, name) for one in loads) for name in ("requests", "refused", "failed")}
    return Load(**sums, **{name: statistics.median(getattr(one, name) for one in loads) for name in figures})


if __name__ == "__main__":
    main()
