"""Measure `sentiflow score` on the real test reviews against a pyfunc around Keras's ``predict``, in turns.

    python -m benchmarks.scoring [--rounds 3] [--write]

It trains nothing: the champion of the settings' store scores, else the newest version of imdb-sentiment.
"""

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow.pyfunc
import numpy as np
import pandas as pd

from benchmarks import machine, table
from sentiflow.data import prepare, reviews
from sentiflow.settings import Settings, load_settings
from sentiflow.store.find import find_version, open_store
from sentiflow.store.records import Version

BEGIN = "<!-- make bench-use writes the scoring table from here -->"
END = "<!-- to here, the scoring table -->"
MANY = 40  # times all reviews, a million: starting the process then counts for little
CHECKED = 2_000  # reviews whose scores are compared


@dataclass(frozen=True)
class Round:
    """One turn of both.

    Attributes:
        whole: seconds of `sentiflow score`, from the start of its process to its end.
        reported: reviews a second as it says itself: from the end of its imports on.
        many: reviews a second of the whole process when it scores them all so many times over.
        megabytes: most memory of all its processes together.
        plain: reviews a second of the plain pyfunc, loaded and warm.
    """

    whole: float
    reported: float
    many: float
    megabytes: float
    plain: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the table in docs/speed.md")
    chosen = parser.parse_args()
    settings = load_settings()
    version = find_version(settings, "imdb-sentiment", None)
    with tables(settings) as (texts, once, _):
        folder = once.parent
        model = plain_model(
            open_store(settings).version_files(version.name, version.number, folder) / "artifacts",
            folder / "plain",
        )
        check_agreement(model, folder, version, texts)
        rounds = [one_round(model, folder, version, texts) for _ in range(chosen.rounds)]
    text = render(rounds, len(texts), machine.describe(), f"{datetime.now(UTC):%Y-%m-%d}")
    machine.log(text)
    if chosen.write:
        table.put_into(table.SPEED_PAGE, text, BEGIN, END)


@contextmanager
def tables(settings: Settings) -> Iterator[tuple[list[str], Path, Path]]:
    """The real test reviews as texts; a CSV of them, and one of them all many times over, until the block ends."""
    prepared = prepare.prepare(prepare.fetch("imdb", settings), settings).table
    vocabulary = reviews.read_vocabulary(prepared)
    texts = [vocabulary.decode(ids, unknown="") for ids in reviews.read(prepared).of("test").tokens]
    with tempfile.TemporaryDirectory() as folder:
        once, many = (Path(folder) / name for name in ("reviews.csv", "many.csv"))
        pd.DataFrame({"text": texts}).to_csv(once, index=False)
        pd.DataFrame({"text": texts * MANY}).to_csv(many, index=False)
        yield texts, once, many


def plain_model(artifacts: Path, folder: Path) -> "mlflow.pyfunc.PyFuncModel":
    """The pyfunc around Keras, saved and loaded as any other."""
    mlflow.pyfunc.save_model(
        path=folder,
        python_model=str(Path(__file__).with_name("plain_pyfunc.py")),
        artifacts={"keras": str(artifacts / "model.keras"), "vocabulary": str(artifacts / "vocabulary.json")},
        pip_requirements=["mlflow"],
    )
    return mlflow.pyfunc.load_model(str(folder))


def check_agreement(model: "mlflow.pyfunc.PyFuncModel", folder: Path, version: Version, texts: list[str]) -> None:
    """Both say the same, or the comparison means nothing; warms both up."""
    score(folder / "reviews.csv", version)
    ours = pd.read_parquet(folder / "scores.parquet")["score"][:CHECKED]
    theirs = np.array(model.predict(pd.DataFrame({"text": texts[:CHECKED]})))
    difference = float(np.abs(ours - theirs).max())
    if difference > 1e-4:
        raise SystemExit(f"the two do not score alike: they differ by up to {difference}")
    machine.log(f"largest difference of scores: {difference:.1e}")


def one_round(model: "mlflow.pyfunc.PyFuncModel", folder: Path, version: Version, texts: list[str]) -> Round:
    whole, reported, _ = score(folder / "reviews.csv", version)
    longer, _, megabytes = score(folder / "many.csv", version)
    frame = pd.DataFrame({"text": texts})
    started = time.perf_counter()
    model.predict(frame)
    plain = len(texts) / (time.perf_counter() - started)
    done = Round(whole, reported, MANY * len(texts) / longer, megabytes, plain)
    machine.log(str(done))
    return done


def score(path: Path, version: Version) -> tuple[float, float, float]:
    """Seconds of the whole process, its own rate, and the most megabytes of it and its workers."""
    seconds, most, printed = watch(command_for(path, version))
    rate = re.search(r"([\d,]+) reviews a second", printed)
    return seconds, float(rate[1].replace(",", "")), most


def command_for(path: Path, version: Version) -> list[str]:
    """Score a table into a file beside it."""
    output = ["-o", str(path.with_name("scores.parquet"))]
    chosen = ["--dataset", "imdb", "--model-version", str(version.number)]
    return [machine.SENTIFLOW, "score", str(path), *output, *chosen]


def watch(command: Sequence[str], **variables: str) -> tuple[float, float, str]:
    """Seconds of a command, the most megabytes of it and of what it starts, and what it prints."""
    started = time.perf_counter()
    with subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True) as process:
        most = 0.0
        while process.poll() is None:
            most = max(most, megabytes_of(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        printed = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, most, printed


def megabytes_of(pid: int) -> float:
    """Memory of a process and of those that it started; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(
        megabytes_of(int(child)) for child in " ".join(lists).split()
    )


def render(rounds: Sequence[Round], reviews_scored: int, machine: str, date: str) -> str:
    """Markdown of the medians and the ratio."""
    whole = statistics.median(each.whole for each in rounds)
    reported, many, most, plain = (
        statistics.median(values)
        for values in zip(
            *((each.reported, each.many, each.megabytes, each.plain) for each in rounds), strict=True
        )
    )
    rate = reviews_scored / whole
    lines = [
        f"| {reviews_scored:,} reviews, from a CSV of raw text | reviews a second | |",
        "|---|---:|---:|",
        f"| `sentiflow score`, its whole process | {rate:,.0f} | {rate / plain:.1f} times |",
        f"| the same, once its imports are done | {reported:,.0f} | {reported / plain:.1f} times |",
        f"| its whole process, all of them {MANY} times over | {many:,.0f} | {many / plain:.1f} times |",
        f"| a pyfunc around Keras's `predict`, loaded and warm, without reading and writing | {plain:,.0f} | |",
        "",
        f"The whole process takes {whole:.2f} s for them, at most {most:,.0f} MB with its workers. Medians of "
        f"{len(rounds)} rounds in turns, on {date}. {machine}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
