"""Small stores of earlier versions of Sentiflow, which every command must go on to read.

``python -m tests.stores.release 1.0.0`` adds that of one more: it clones this repository at that tag or commit,
sets it up by its own lock (which needs `uv` and a package index), and writes ``sentiflow-1.0.0.tar.xz``. A store
has two models, of the sample and of a table, each with two versions and a champion that replaced another; the log
of texts that it scored, and a sample to label where that version knows such. Pictures and reports of the runs are
left out: nothing reads them, and they are most of the bytes.
"""

import csv
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
HOME = Path("/srv/sentiflow")  # where these stores were made: what they hold are paths of it
KEPT = "data/datasets", "data/samples", "log", "mlruns", "visits.csv"

SMALL = "--recipe tutorial --set units=4 --set embedding_size=4 --set vocabulary_size=500 --set sequence_length=40"
COMMANDS = (
    f"train --dataset sample {SMALL} --set epochs=4 --promote",
    f"train --dataset sample {SMALL} --set epochs=2 --seed 1",
    "promote 2 --dataset sample --force --reason tried",
    f"train --dataset visits.csv {SMALL} --set epochs=3 --promote",
    f"train --dataset visits.csv {SMALL} --set epochs=4 --seed 1",
    "promote 2 --dataset visits --force --reason tried",
    "score visits.csv --dataset sample --output scored.csv",
    "monitor --dataset sample",
)
SETTINGS = {
    "SENTIFLOW_TRACKING_URI": f"sqlite:///{HOME}/mlruns/mlflow.db",
    "SENTIFLOW_DATA_DIR": f"{HOME}/data",
    "SENTIFLOW_PREDICTION_LOG_DIR": f"{HOME}/log",
    "SENTIFLOW_MONITOR_MIN_TEXTS": "20",
    "SENTIFLOW_GATE_MIN_ACCURACY": "0.4",
}


def main() -> None:
    for revision in sys.argv[1:]:
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        write_visits(HOME / "visits.csv")
        with tempfile.TemporaryDirectory() as folder:
            fill(set_up(revision, Path(folder) / "checkout"), Path(folder) / "prefect")
        with tarfile.open(FOLDER / f"sentiflow-{revision}.tar.xz", "w:xz") as archive:
            for name in (each for each in KEPT if (HOME / each).exists()):
                archive.add(HOME / name, name, filter=_packed)
        shutil.rmtree(HOME)


def set_up(revision: str, checkout: Path) -> Path:
    """An installation of a revision; gives its command."""
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    subprocess.run(["git", "checkout", "--quiet", revision], check=True, cwd=checkout)
    subprocess.run(["make", "setup", f"PYTHON={sys.executable}"], check=True, cwd=checkout)
    return checkout / ".venv" / "bin" / "sentiflow"


def fill(command: Path, prefect: Path) -> None:
    """Run the commands that fill the store."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("SENTIFLOW_", "PREFECT_"))}
    environment = {**mine, **SETTINGS, "PREFECT_HOME": str(prefect)}
    for line in COMMANDS:
        done = subprocess.run([command, *line.split()], check=False, cwd=HOME, env=environment)
        if done.returncode not in (0, 4):  # 4: it drifted
            sys.exit(f"Exit code {done.returncode}: sentiflow {line}")


def write_visits(file: Path) -> None:
    """A table of 240 texts, half of them of each label."""
    words = zip(
        ("lovely", "great", "wonderful", "friendly", "excellent"), ("awful", "rude", "dirty", "poor", "bad"),
        strict=True,
    )  # fmt: skip
    places = "room", "staff", "view", "kitchen", "garden", "pool"
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label"])
        times = "morning", "evening", "night", "weekend"
        for (good, bad), place, time in itertools.product(words, places, times):
            table.writerow([f"The {place} was {good} that {time}, and so was the rest", 1])
            table.writerow([f"A {bad} {place} all {time}, never again", 0])


def _packed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if re.search(r"\.lock$|-(wal|shm)$|/plots$|/report\.html$", member.name) else member


def revisions() -> list[str]:
    """The versions of which there is a store."""
    return sorted(file.name[len("sentiflow-") : -len(".tar.xz")] for file in FOLDER.glob("sentiflow-*.tar.xz"))


def unpack(revision: str, home: Path) -> Path:
    """Write the store of a version into a folder, which is another one than it was made in."""
    with tarfile.open(FOLDER / f"sentiflow-{revision}.tar.xz") as archive:
        archive.extractall(home, filter="data")
    return home


if __name__ == "__main__":
    main()
