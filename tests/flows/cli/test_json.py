"""What commands print with ``--json``: one JSON document on stdout, with the exit code that they have without."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from benchmarks import sample
from flows.cli.main import application
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from tests.world import World

QUICK = ("--dataset", "sample", "--recipe", "tutorial", *("--set", "epochs=1"), *("--set", "sequence_length=20"))
EQUAL = ("--dataset", "sample", "--recipe", "tutorial", "--set", "sequence_length=80", "--seed", "4")
FORCE = ("--force", "--reason", "to have two")
# A command, what is typed before it, its exit code, and what its JSON has at least.
CASES: list[tuple[tuple[str, ...], tuple[tuple[str, ...], ...], int, set[str]]] = [
    (("data", "--dataset", "sample"), (), 0, {"dataset", "facts"}),
    (("promote", "1"), (), 0, {"model", "promotion"}),
    (("promote", "1", "--dry-run"), (), 0, {"model", "promotion"}),
    (("promote", "2", "--dry-run"), (("promote", "1"),), 4, {"model", "promotion"}),
    (("promote", "2"), (("promote", "1"),), 4, {"model", "promotion"}),
    (("rollback", "--reason", "back"), (("promote", "1"), ("promote", "2", *FORCE)), 0, {"model", "event"}),
    (("versions",), (), 0, {"name", "versions"}),
    (("versions", "--history"), (), 0, {"name", "champion", "events"}),
    (("versions", "--history"), (("promote", "1"),), 0, {"name", "champion", "events"}),
    (("versions", "--delete", "2"), (), 0, {"model", "deleted"}),
    (("predict", "A touching film.", "xyzzy"), (), 0, {"model", "answers"}),
    (("predict", "--explain", "A touching film."), (), 0, {"model", "answers"}),
    (("score", "in.csv", "-o", "out.csv"), (), 5, {"model", "output", "totals", "seconds"}),
]
# Likewise, of flows: exit code, and what the JSON has at least.
FLOWS: list[tuple[tuple[str, ...], int, set[str]]] = [
    (("train", *QUICK, "--repeats", "2"), 0, {"model", "run_id", "seeds", "best", "accuracy", "seconds"}),
    (("train", *QUICK, "--promote"), 4, {"model", "promotion", "run_id", "run_url", "measured", "seconds"}),
    (("train", *EQUAL), 0, {"model", "promotion", "summary"}),
    (("train", *EQUAL, "--promote"), 0, {"model", "promotion", "summary"}),
    (("monitor", "--dataset", "sample"), 0, {"model", "texts", "summary", "result", "drifted"}),
    (("housekeeping",), 0, {"closed", "removed", "left", "failures"}),
]
# tests/flows/test_runs_and_compare.py, test_reproduce.py, test_sweep_runners.py and test_label.py
ELSEWHERE = {"runs", "compare", "reproduce", "sweep", "label"}


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in keys_of(each)}
    return {key for each in value for key in keys_of(each)} if isinstance(value, list) else set()


@pytest.fixture
def here(registry: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Commands run in this process, which keeps its streams as they are."""
    monkeypatch.setattr("flows.cli.output.set_up", lambda **_: None)
    monkeypatch.chdir(registry.root)
    return registry


def check(typed: tuple[str, ...], code: int, keys: set[str]) -> str:
    """Run a command with --json and check what it prints; gives its stderr."""
    done = CliRunner().invoke(application(), [*typed, "--json"])
    assert getattr(done.exception, "exit_code", done.exit_code) == code, done.output
    check_json(done.stdout, keys)
    return done.stderr


def check_json(text: str, keys: set[str]) -> None:
    told = json.loads(text)
    assert set(told) >= keys and "settings" not in keys_of(told)


def log_texts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be texts to monitor."""
    texts = [text for text, _label, split in sample.sample_rows(2, 300, 7) if split == "test"]
    at = datetime.now(UTC).isoformat()
    log = TextLog(world.root / "log", 10_000_000)
    log.append([Entry(at, SERVED, "sample-sentiment", 1, 0.5, text) for text in texts])
    monkeypatch.setenv("SENTIFLOW_PREDICTION_LOG_DIR", str(world.root / "log"))


@pytest.mark.parametrize(("typed", "before", "code", "keys"), CASES, ids=[" ".join(typed) for typed, *_ in CASES])
def test_a_result_is_one_json_document(
    typed: tuple[str, ...], before: tuple[tuple[str, ...], ...], code: int, keys: set[str], here: World
) -> None:
    (here.root / "in.csv").write_text("text\nA touching film.\n\xe9\n,\n")
    for earlier in before:
        assert CliRunner().invoke(application(), earlier).exit_code == 0
    check(typed, code, keys)


@pytest.mark.story
@pytest.mark.parametrize(("typed", "code", "keys"), FLOWS, ids=[" ".join(typed) for typed, *_ in FLOWS])
def test_the_result_of_a_flow_is_one_json_document(
    typed: tuple[str, ...], code: int, keys: set[str],
    here: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    log_texts(here, monkeypatch)
    assert CliRunner().invoke(application(), ["promote", "1"]).exit_code == 0
    assert "starting up" in check(typed, code, keys).lower()


def test_every_command_that_prints_a_result_has_json() -> None:
    commands = get_command(application()).commands  # type: ignore[attr-defined]
    have = {name for name, each in commands.items() if any("--json" in param.opts for param in each.params)}
    assert have == {typed[0] for typed, *_ in [*CASES, *FLOWS]} | ELSEWHERE
    assert set(commands) - have == {"ui", "serve", "schedule", "trigger"}  # they run, and have no result
