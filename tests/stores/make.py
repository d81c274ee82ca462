"""Small stores of several MLflow releases, which the readers must go on to read.

``python -m tests.stores.make 3.18.1`` adds that of one more release: it needs `uv` and a package index, and writes
``tests/stores/mlflow-3.18.1.db.gz``.
"""

import gzip
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

FOLDER = Path(__file__).parent
FILES = "/store/artifacts"  # where the artifacts of these stores are said to be; they have none


def main() -> None:
    for release in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            python = install(release, Path(folder) / "venv")
            store = Path(folder) / "mlflow.db"
            subprocess.run([python, __file__, "--fill", store], check=True, cwd=folder)
            pack(store, FOLDER / f"mlflow-{release}.db.gz")


def install(release: str, venv: Path) -> Path:
    """An environment with a release of MLflow; gives its Python."""
    python = venv / "bin" / "python"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, venv], check=True)
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, f"mlflow=={release}"], check=True)
    return python


def pack(store: Path, packed: Path) -> None:
    """Write a store, without free pages, in as few bytes as can be."""
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("UPDATE experiments SET artifact_location = ?", (FILES,))  # one has the current folder's
        database.execute("PRAGMA page_size = 512")  # 170 tables and indexes, most of them empty
        database.execute("VACUUM")
    packed.write_bytes(gzip.compress(store.read_bytes(), mtime=0))


def unpack(release: str, store: Path) -> Path:
    """Write the store of a release to a file."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(FOLDER / f"mlflow-{release}.db.gz") as packed, store.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return store


def fill(store: Path) -> None:
    """Write what trainings and a promotion write, by the client of the MLflow that runs this."""
    import mlflow
    from mlflow.entities import LoggedModelStatus, Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    mlflow.set_tracking_uri(f"sqlite:///{store}")  # a version looks for its model there
    client = MlflowClient()
    experiment = client.create_experiment("sentiflow", FILES)
    name = "imdb-sentiment"
    client.create_registered_model(name)
    for seed, loss in enumerate((0.5, 0.25, 0.75)):
        made = client.create_run(experiment, start_time=10**12 + seed, run_name=f"tuned-imdb-seed{seed}")
        run = made.info.run_id
        points = [Metric("val/loss", loss + 1 / step, 10**12, step) for step in (1, 2, 4)]
        figures = [Metric("test/accuracy", 0.875, 10**12, 0), Metric("train/loss", float("nan"), 10**12, 1)]
        params = [Param("recipe", "tuned"), Param("seed", str(seed))]
        client.log_batch(run, points + figures, params, [RunTag("dataset", "imdb"), RunTag("kind", "training")])
        logged = client.create_logged_model(experiment, name=name, source_run_id=run)
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        tags = {"val.loss": str(loss), "test.accuracy": "0.875", "dataset": "imdb"}
        client.create_model_version(
            name, f"models:/{logged.model_id}", run_id=run, model_id=logged.model_id, tags=tags
        )
        client.set_terminated(run)
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_tag(name, "owner", "Ada")
    client.delete_model_version(name, "3")
    client.delete_run(run)  # the last one


if __name__ == "__main__":
    if sys.argv[1] == "--fill":
        fill(Path(sys.argv[2]))
    else:
        main()
