"""The life of a version after training, told by the commands alone."""

import re
import time
from contextlib import suppress
from dataclasses import dataclass

import httpx
import pytest
from typer.testing import CliRunner

from flows.cli import application
from sentiflow.errors import SentiflowError
from tests.polling import until
from tests.sentiflow.serving import service
from tests.world import Registry, World, copy_world

NAME = "sample-sentiment"
SERVED = (0, Registry.GOOD, Registry.GOOD, Registry.POOR, *[Registry.GOOD] * 5)
pytestmark = pytest.mark.story


@dataclass(frozen=True)
class Step:
    """What came of one command, and which version a running service answered with soon after (0 for none).

    ``errors`` is the message that it ended with, and what that says to do.
    """

    code: int
    told: str
    errors: str
    serving: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, three_versions: World) -> list[Step]:
    """One story in one store, with a service beside it all the time."""
    world = copy_world(tmp_path_factory.mktemp("story"), three_versions)
    commands = [
        ("promote", str(Registry.GOOD), "--dry-run"),
        ("promote", str(Registry.GOOD), "--reason", "the first"),
        ("promote", str(Registry.POOR)),
        ("promote", str(Registry.POOR), "--force", "--reason", "an experiment [bold]"),
        ("rollback", "--reason", "it was poor"),
        ("versions", "--history"),
        ("versions",),
        ("versions", "--delete", str(Registry.GOOD)),
        ("predict", "A touching film."),
    ]
    steps = []
    with (
        pytest.MonkeyPatch.context() as patch,
        service.running(world, "--dataset", "sample") as running,
        running.client() as http,
    ):
        world.enter(patch)
        patch.setattr("flows.cli.output.set_up", lambda **_: None)
        for command, version in zip(commands, SERVED, strict=True):
            done = CliRunner(env={"COLUMNS": "160"}).invoke(application(), command)
            code, errors = done.exit_code, ""
            if isinstance(error := done.exception, SentiflowError):
                code, errors = error.exit_code, f"{error} {error.hint}"
            with suppress(AssertionError):  # the first test tells
                until(lambda version=version: served(http) == version, seconds=60)  # type: ignore[misc]
            time.sleep(0.7)  # it looks five times a second, and must not change again
            steps.append(Step(code, done.stdout, errors, served(http)))
    return steps


def served(http: httpx.Client) -> int:
    """The version that answers; 0 for none."""
    answer = http.post("/predict", json={"text": "A touching film."})
    assert answer.status_code in (200, 503)
    return int(answer.json()["model"]["version"]) if answer.status_code == 200 else 0


def test_the_service_follows_each_change_of_the_champion_and_nothing_else(story: list[Step]) -> None:
    """After the dry run, the promotion, the refusal, the forced one, the rollback, and what changes nothing."""
    assert tuple(step.serving for step in story) == SERVED


def test_a_dry_run_shows_the_rules_and_changes_nothing(story: list[Step]) -> None:
    told = story[0].told
    assert story[0].code == 0
    assert re.search(r"passed +minimum accuracy +9\d\.\d\d%, at least 80\.00%", told)
    assert "it would be promoted. Nothing was changed." in told
    assert "replacing" not in story[1].told  # the next one is still the first


def test_a_promotion_names_the_new_champion(story: list[Step]) -> None:
    told = story[1].told
    assert story[1].code == 0
    assert f"{NAME} version {Registry.GOOD} is now the champion, the first one (passed)." in told


def test_a_refusal_ends_with_4_the_table_and_the_rule_that_failed(story: list[Step]) -> None:
    told, errors = story[2].told, story[2].errors
    assert story[2].code == 4
    assert re.search(r"failed +better +\d+\.\d\d points worse than the champion", told)
    assert f"{NAME} version {Registry.POOR} was not promoted: " in errors
    assert "--force --reason" in errors


def test_force_is_told_as_such(story: list[Step]) -> None:
    told = story[3].told
    assert story[3].code == 0
    assert f"version {Registry.POOR} is now the champion, replacing version {Registry.GOOD} (forced)." in told


def test_a_rollback_names_both_versions(story: list[Step]) -> None:
    told = story[4].told
    assert story[4].code == 0
    assert f"version {Registry.GOOD} is the champion again, version {Registry.POOR} is not." in told


def test_the_history_tells_it_all_newest_first(story: list[Step]) -> None:
    told = story[5].told
    assert story[5].code == 0
    lines = [line for line in told.splitlines() if re.match(r"\d\d-\d\d ", line)]
    expected = [
        ("rollback", Registry.GOOD, Registry.POOR, "it was poor"),
        ("promotion", Registry.POOR, Registry.GOOD, "an experiment [bold]"),
        ("promotion", Registry.GOOD, "-", "the first"),
    ]
    for line, (kind, version, replaced, reason) in zip(lines, expected, strict=True):
        told = rf"{kind} +{version} +{replaced} +\d\d\.\d\d% +{re.escape(reason)} +\S+ on \S+"
        assert re.search(told, line), line


def test_versions_shows_alias_figures_and_what_the_gate_said(story: list[Step]) -> None:
    told = story[6].told
    assert story[6].code == 0
    rows = {int(line.split()[0]): line for line in told.splitlines() if re.match(r"\d+ ", line)}
    assert sorted(rows, reverse=True) == list(rows) == [Registry.NEWEST, Registry.POOR, Registry.GOOD]
    assert "champion" in rows[Registry.GOOD] and "champion " not in rows[Registry.POOR].split("against")[0]
    assert f"forced against v{Registry.GOOD} " in rows[Registry.POOR]
    assert re.search(r" 9\d\.\d\d% +tutorial\+sequence_length=80-seed4 ", rows[Registry.GOOD])


def test_the_champion_cannot_be_deleted(story: list[Step]) -> None:
    assert story[7].code == 2
    assert f"version {Registry.GOOD} is held by the alias champion" in story[7].errors


def test_predict_answers_with_the_champion(story: list[Step]) -> None:
    assert f"{NAME} version {Registry.GOOD} (champion)" in story[8].told
