"""Many runs that nobody trained, written into a store by SQL: a thousand through MLflow's client take minutes."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

PARAMETERS = 45
EPOCHS = 10
SCORED = 20  # runs with a table of test scores
REVIEWS = 25_000
FINAL = ("test/accuracy", "test/accuracy_ci_low", "test/accuracy_ci_high", "test/balanced_accuracy",
         "test/majority_share", "test/loss", "test/f1_negative", "test/f1_positive", "test/auc", "test/brier",
         "test/ece", "test/throughput")  # fmt: skip
BY_EPOCH = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "train/epoch_seconds",
            "train/learning_rate", "train/throughput")  # fmt: skip
_EVERY = 20  # such a run is a set of repeats
_SEEDS = 5  # and so many below it are its seeds


def fill(file: Path, experiment: str, count: int) -> None:
    """Add so many finished runs to a migrated store, newest last."""
    rng = np.random.default_rng(0)
    began = int(time.time() * 1000) - count * 60_000
    with closing(sqlite3.connect(file)) as connection, connection:
        parent = ""
        for number in range(count):
            place = number % _EVERY
            run_id = rng.bytes(16).hex()
            parent = run_id if place == 0 else parent
            kind = "repeats" if place == 0 else "repeat" if place <= _SEEDS else "training"
            folder = file.parent / "artifacts" / run_id / "artifacts"
            tags = _tags(number, kind, parent if kind == "repeat" else "")
            if number >= count - SCORED:
                tags["scored"] = "true"
                _write_scores(folder, rng)
            row = _run(run_id, tags["mlflow.runName"], began + number * 60_000, folder, experiment)
            connection.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({_marks(row)})", tuple(row.values()))
            _add(connection, "tags", run_id, tags)
            _add(connection, "params", run_id, _parameters(number))
            _add_metrics(connection, run_id, began + number * 60_000, rng)


def _run(run_id: str, name: str, began: int, folder: Path, experiment: str) -> dict[str, object]:
    return {
        "run_uuid": run_id, "name": name, "source_type": "LOCAL", "user_id": "nobody", "status": "FINISHED",
        "start_time": began, "end_time": began + 50_000, "lifecycle_stage": "active",
        "artifact_uri": folder.as_uri(), "experiment_id": int(experiment),
    }  # fmt: skip


def _tags(number: int, kind: str, parent: str) -> dict[str, str]:
    recipe = ("tutorial", "tuned")[number % 2]
    tags = {
        "mlflow.runName": f"{recipe}-imdb-seed{number}-made{number:05d}", "mlflow.user": "nobody",
        "mlflow.source.name": "flows/train.py", "mlflow.source.type": "LOCAL", "recipe": recipe, "kind": kind,
        "recipe.changes": "none", "dataset": "imdb", "dataset.digest": "6" * 64, "started_by": "nobody, by hand",
        "registered_model": "imdb-sentiment", "git.commit": f"{number:040x}", "git.dirty": "false",
        "host": "made", "mlflow.sentiflow.lock": "none",
        "time.total": f"{60 + number % 60}.25", "time.train": "40.5",
        "prefect.flow_run_id": f"{number:032x}",
        "prefect.flow_run_name": "made", "prefect.flow_run_url": "none",
        "mlflow.note.content": "**Test accuracy.**\n\n" + "| stage | seconds |\n" * 30,
    }  # fmt: skip
    return tags | ({"mlflow.parentRunId": parent} if parent else {})


def _parameters(number: int) -> dict[str, str]:
    known = {"recipe": ("tutorial", "tuned")[number % 2], "seed": str(number), "units": str(16 * (1 + number % 4)),
             "learning_rate": str(0.001 / (1 + number % 7)), "sequence_length": "500"}  # fmt: skip
    return known | {f"parameter_{at:02d}": f"value {at}" for at in range(PARAMETERS - len(known))}


def _add(connection: sqlite3.Connection, table: str, run_id: str, values: dict[str, str]) -> None:
    rows = [(run_id, key, value) for key, value in values.items()]
    connection.executemany(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, ?, ?)", rows)


def _add_metrics(connection: sqlite3.Connection, run_id: str, began: int, rng: np.random.Generator) -> None:
    accuracy = float(rng.uniform(0.8, 0.9))
    final = dict.fromkeys(FINAL, accuracy) | {FINAL[1]: accuracy - 0.004, FINAL[2]: accuracy + 0.004}
    points = [(run_id, key, value, began, 0, 0) for key, value in final.items()]
    last = []
    for key in BY_EPOCH:
        line = [(run_id, key, float(rng.random()), began + step, step, 0) for step in range(1, EPOCHS + 1)]
        points += line
        last.append(line[-1])
    sql = "INSERT INTO {} (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
    connection.executemany(sql.format("metrics"), points)
    connection.executemany(sql.format("latest_metrics"), points[: len(final)] + last)


def _write_scores(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    label = np.arange(REVIEWS, dtype=np.int8) % 2
    score = np.clip(label * 0.5 + rng.random(REVIEWS) * 0.7 - 0.1, 0, 1)
    n_tokens = np.full(REVIEWS, 200, dtype=np.int32)
    ids = [f"test-{number:05d}" for number in range(REVIEWS)]
    table = {"review_id": ids, "label": label, "score": score, "n_tokens": n_tokens}
    pd.DataFrame(table).to_parquet(folder / "test_scores.parquet", index=False)


def _marks(row: dict[str, object]) -> str:
    return ", ".join("?" for _ in row)
