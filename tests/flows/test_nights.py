"""Nights in the life of a schedule whose folder of reviews grows: what each of them says in the morning."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from benchmarks.sample import sample_rows
from sentiflow.data.division import text_hashes
from sentiflow.evaluation.metrics import Yardstick
from sentiflow.store.client import connect
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import make_world

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(900)]

MODEL = "reviews-sentiment"
TABLE = {"text_column": "review", "label_column": "rating", "labels": {"good": 1, "bad": 0}}
SCHEDULE = {
    "SENTIFLOW_SCHEDULE_DATASET": "reviews",
    "SENTIFLOW_SCHEDULE_TABLE": json.dumps(TABLE),
    "SENTIFLOW_SCHEDULE_PROMOTE_AFTER_TRAIN": "true",
    "SENTIFLOW_SCHEDULE_TRAIN": "off",  # each is started by hand, so that none begins before its rows are there
    "SENTIFLOW_SCHEDULE_HOUSEKEEPING": "off",
    "SENTIFLOW_GATE_MIN_ACCURACY": "",
}
RATINGS = ("bad", "good")
_NEGATION = re.compile(r"not|n't|never|hardly|nobody|no ", re.IGNORECASE)

Row = tuple[str | None, str]


def rows(count: int, seed: int, *, strange: bool = False) -> list[Row]:
    """Reviews with their ratings, of which one in 20 is wrong; ``strange`` ones are in words that no other has.

    Without negations, which pairs of words tell best: network and nb-bigrams are equally good.
    """
    told = [(text, label) for text, label, _ in sample_rows(4 * count, 2, seed) if not _NEGATION.search(text)]
    made: list[Row] = []
    for number, (text, label) in enumerate(told[:count]):
        said = re.sub(r"[a-z]{4,}", lambda found: found[0][::-1], text) if strange else text
        made.append((said, RATINGS[label if number % 20 else 1 - label]))
    return made


TYPO, EMPTY = ("The plot was lovely.", "goood"), (None, "good")


@dataclass(frozen=True)
class Expected:
    """What a night finds: its new rows, and what it must say of them and of what it trains."""

    rows: list[Row]
    write: Callable[[pd.DataFrame, Path], None]
    file: str
    texts: str
    rejects: str
    start: str
    before: int  # the night, from 0, whose version it starts from
    gate: tuple[str, str]
    verdict: str


def expected_nights() -> list[Expected]:
    """The first training and three nights."""
    first = rows(2_000, 1)
    twice = (first[1][0], "bad" if first[1][1] == "good" else "good")  # with another label than before
    return [
        Expected(
            first, lambda table, path: table.to_csv(path, index=False), "2025.csv",
            texts="2,000 texts of 1 table", rejects="", start="base", before=0,
            gate=("passed", "no champion"), verdict="version 1 is now the champion, the first one",
        ),
        Expected(
            [*rows(297, 2), TYPO, EMPTY, twice],
            lambda table, path: table.to_csv(path, index=False), "2026-01.csv",
            texts="2,297 texts of 2 tables", rejects="2 of 2,300 rows rejected (1 unknown label, 1 no text)",
            start=f"{MODEL}/1", before=0,
            gate=("refused", "version 1"), verdict="version 2 was not promoted: 1 of 7 checks failed (better)",
        ),
        # Words that the champion does not know: what has learnt them is better.
        Expected(
            [*rows(298, 3, strange=True), TYPO, EMPTY],
            lambda table, path: table.to_json(path, orient="records", lines=True), "2026-02.jsonl",
            texts="2,595 texts of 3 tables", rejects="4 of 2,600 rows rejected (2 unknown label, 2 no text)",
            start=f"{MODEL}/1", before=0,
            gate=("passed", "version 1"), verdict="version 3 is now the champion, replacing version 1",
        ),
        Expected(
            [*rows(149, 4), *rows(150, 5, strange=True), TYPO],
            lambda table, path: table.to_parquet(path, index=False), "2026-03.parquet",
            texts="2,894 texts of 4 tables", rejects="5 of 2,900 rows rejected (3 unknown label, 2 no text)",
            start=f"{MODEL}/3", before=2,
            gate=("refused", "version 3"), verdict="version 4 was not promoted: 1 of 7 checks failed (better)",
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Night:
    """What a night left, beside what it should have."""

    expected: Expected
    log: str
    run: Run
    version: ModelVersion
    summary: str  # as Prefect shows it
    tested: list[str]  # ids of the reviews
    learnt: "np.ndarray[tuple[int], np.dtype[np.uint64]]"

    @property
    def description(self) -> str:
        return self.run.data.tags["mlflow.note.content"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Home]:
    world = make_world(tmp_path_factory.mktemp("nights"), migrated_store)
    folder = world.root / "reviews"
    folder.mkdir()
    made = Home(world, free_port(), SCHEDULE)
    running = Scheduled(made)
    running.until_says("Prefect UI")
    yield made
    assert running.ends(SIGINT) == 0


@pytest.fixture(scope="module")
def nights(home: Home) -> list[Night]:
    """The first training and three nights, each with rows that came the day before."""
    client, found = connect(home.world.settings), []
    for number, expected in enumerate(expected_nights(), 1):
        written = home.world.root / expected.file
        expected.write(pd.DataFrame(expected.rows, columns=["review", "rating"]), written)
        written.rename(home.world.root / "reviews" / expected.file)
        done = home.run("trigger", "train")
        assert done.returncode == 0, done.stderr
        version = client.get_model_version(MODEL, str(number))
        run = client.get_run(str(version.run_id))
        files = Path(client.download_artifacts(run.info.run_id, ""))
        with home.api() as api:
            asked = {"artifacts": {"key": {"any_": ["training-summary"]}}, "sort": "CREATED_DESC"}
            shown = api.post("/artifacts/filter", json=asked).raise_for_status().json()[0]["data"]
        tested = pd.read_parquet(files / "test_scores.parquet")["review_id"].tolist()
        learnt = np.load(files / "learnt.npy", allow_pickle=False)
        found.append(Night(expected, done.stderr, run, version, shown, tested, learnt))
    return found


def test_each_says_what_came(nights: list[Night]) -> None:
    for number, night in enumerate(nights):
        expected, came = night.expected, f"{night.expected.texts}, {len(night.tested):,} of them to test"
        for told in (night.log, night.description):
            assert came in told
            assert expected.rejects in told
        assert night.summary == night.description
        counts = ("tables", "rejected", "repeated", "relabelled")
        params = [int(night.run.data.params[f"table.{name}"]) for name in counts]
        rejected = int(expected.rejects.partition(" ")[0] or 0)
        assert params == [number + 1, rejected, min(number, 1), min(number, 1)]
    assert "Contradictory labels: 1 of the rows left out" in nights[1].log


def test_each_says_what_was_trained_and_from_which_version(nights: list[Night]) -> None:
    for night in nights:
        start, params = night.expected.start, night.run.data.params
        assert (params["recipe"], params["start_from"], night.version.tags["start.from"]) == (
            "fitted",
            start,
            start,
        )
        assert f"recipe fitted chose for this table: vocabulary size {params['vocabulary_size']}, " in night.log
        assert f"training starts from {start} " in night.log
        assert f"Started from {start} (test accuracy" in night.description
        assert f"Started from {start} (test accuracy" in night.version.description


def test_each_says_how_many_reviews_are_new_to_that_version(nights: list[Night]) -> None:
    assert "new to it" not in nights[0].log
    for night in nights[1:]:
        before = nights[night.expected.before]
        texts, had = (int(each.expected.texts.partition(" ")[0].replace(",", "")) for each in (night, before))
        new = texts - len(night.tested) - (had - len(before.tested))
        assert night.run.data.tags["start.new"] == night.version.tags["start.new"] == str(new)
        for told in (night.log, night.description):
            assert f"{new} of the reviews to learn from are new to it" in told


def test_each_says_how_it_did_against_the_yardstick(nights: list[Night]) -> None:
    for night in nights:
        against = Yardstick.logged(night.run.data.metrics)
        assert against is not None and 0.85 < against.accuracy < 0.97
        for told in (night.log, night.description, night.version.description):
            assert against.text in told
        assert re.search(r"task +passed: baseline, ", night.log)


def test_each_says_how_it_did_against_the_champion(nights: list[Night]) -> None:
    for night in nights:
        tags, (outcome, champion) = night.version.tags, night.expected.gate
        assert (tags["gate.outcome"], tags["gate.against"]) == (outcome, champion)
        last = night.log.strip().splitlines()[-1]
        assert last.startswith("Completed. Test accuracy") and f"{MODEL} {night.expected.verdict}" in last
        judged = re.search(r"task +(passed|failed): better, (.* the champion \(95% interval .*)", night.log)
        assert (judged is None) == (champion == "no champion")
        assert judged is None or (judged[1] == "passed") == (outcome == "passed")
        assert outcome == "passed" or judged is None or judged[2] in tags["gate.reason"]


def test_no_text_changes_its_side_of_the_test(nights: list[Night]) -> None:
    tested: set[str] = set()
    for night in nights:
        assert tested < set(night.tested)
        tested = set(night.tested)
    for night in nights:
        assert not np.isin(text_hashes(np.array(nights[-1].tested)), night.learnt).any()
        assert f"Test reviews to judge on: {len(night.tested)}." in night.log


def test_a_night_without_new_rows_is_skipped(nights: list[Night], home: Home) -> None:
    done = home.run("trigger", "train")
    said = f"Skipped. Nothing to train: {MODEL} version 4 has the same recipe, data, seed, code and packages."
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (0, said)
    assert [run["state_name"] for run in home.flow_runs("train")] == [*["Completed"] * 4, "Skipped"]
    assert len(connect(home.world.settings).search_runs(["1"])) == 4


def test_after_them_versions_and_predict_answer(nights: list[Night], home: Home) -> None:
    listed = home.run("versions", "--dataset", "reviews", "--json")
    told = {each["number"]: each for each in json.loads(listed.stdout)["versions"]}
    assert sorted(told) == [1, 2, 3, 4]
    assert re.search(r"^3 +champion ", home.run("versions", "--dataset", "reviews").stdout, re.MULTILINE)
    said = home.run(
        "predict", "--dataset", "reviews", "The plot was lovely.", "The plot was dull, and I left early."
    ).stdout
    assert [line.split()[0] for line in said.splitlines()[:2]] == ["good", "bad"]
    assert f"{MODEL} version 3 (champion)" in said


def test_the_last_is_reproduced_bit_for_bit(nights: list[Night], home: Home) -> None:
    done = home.run("reproduce", f"{MODEL}/4")
    assert done.returncode == 0, done.stderr
    assert f"{MODEL}/4 reproduces: identical, bit for bit" in done.stdout + done.stderr
