"""Samples on a team's server, over PostgreSQL: drawn, labelled, counted and deleted."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.monitoring.sample import samples
from tests.postgres import postgres
from tests.servers import _running, free_port
from tests.world import ROOT, Trained, copy_world

MODEL = "sample-sentiment"
TEXTS = [f"Text{number:02d} is \0 a wonderful, naïve film 花. {'So ' * 400}" for number in range(30)]
STACK = ROOT / "stack"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    with postgres(tmp_path) as address:
        yield address


@pytest.fixture
def server(database: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A team's server, with a trained version; gives its address."""
    store, served, settings = database.replace(":", "+psycopg:", 1), tmp_path / "served", tmp_path / "auth.ini"
    served.mkdir()
    content = (STACK / "mlflow-auth.ini").read_text()
    settings.write_text(content.replace("postgresql+psycopg:///mlflow", store))
    variables = {
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": "a password of the tests",
        "MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of the tests",
        "PYTHONPATH": str(STACK), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    address = f"http://127.0.0.1:{(port := free_port())}"
    program = [
        sys.executable,
        str(STACK / "mlflow_server.py"),
        "127.0.0.1",
        str(port),
        store,
        str(served),
        "127.0.0.1",
    ]
    with _running(program, tmp_path, {**os.environ, **variables}, f"{address}/health"):
        importer = [sys.executable, STACK / "import_store.py", trained.world.settings.sqlite_file, store, served]
        subprocess.run(importer, check=True, capture_output=True)
        for name in ("USERNAME", "PASSWORD"):
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", variables[f"MLFLOW_AUTH_ADMIN_{name}"])
        yield address


@pytest.mark.story
@pytest.mark.timeout(600)
def test_a_sample_on_postgresql(database: str, server: str, trained: Trained, tmp_path: Path) -> None:
    """The accuracy is that of a count by hand; a deleted text is in no table, and in no file but reports."""
    world = copy_world(tmp_path / "world", trained.world)
    log = tmp_path / "world" / "log"
    TextLog(log, 10_000_000).append([Entry("2026-01-01", SERVED, MODEL, 1, 0.5, text) for text in TEXTS])

    def run(*arguments: str) -> str:
        variables = {"SENTIFLOW_TRACKING_URI": server, "SENTIFLOW_PREDICTION_LOG_DIR": str(log)}
        done = world.run(*arguments, SENTIFLOW_MONITOR_MIN_TEXTS="30", **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("label", "--texts", "30")
    (sample,) = samples(MODEL, world.settings)
    right = {each.id: (each.score >= 0.5) == (number % 3 > 0) for number, each in enumerate(sample.texts)}
    with (tmp_path / "world" / "done.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(
            [
                ("id", "label"),
                *((each.id, sample.names[number % 3 > 0]) for number, each in enumerate(sample.texts)),
            ]
        )
    for _ in range(2):  # the second time replaces the first
        run("label", "--import", "done.csv", "--by", "anna")
    (line,) = json.loads(run("monitor", "--json"))["accuracy"]
    assert f"Accuracy in use {sum(right.values()) / 30:.2%}" in line and "30 of the 30 texts" in line
    quoted = [each for each in sample.texts if "report.html" in holding(tmp_path, each.text[:6])]
    assert len(quoted) == 6, "as many as a report of drift shows"
    gone = quoted[0]
    run("label", "--delete", gone.id)
    with psycopg.connect(database) as tables:
        for name in ("trace_info", "trace_tags", "spans", "assessments", "review_queue_items"):
            rows = [" ".join(map(str, row)) for row in tables.execute(f"SELECT * FROM {name}")]  # noqa: S608
            assert [row for row in rows if gone.trace in row or gone.text[:6] in row] == [], name
        assert tables.execute("SELECT count(DISTINCT trace_id) FROM assessments").fetchone() == (29,)
    assert holding(tmp_path, gone.text[:6]) == {"report.html"}, "which is named"


def holding(folder: Path, text: str) -> set[str]:
    """Names of the files that hold a text; not the database's, which are read as tables."""
    files = [path for path in folder.rglob("*") if path.is_file() and "postgres" not in path.parts]
    return {path.name for path in files if text.encode() in path.read_bytes()}
