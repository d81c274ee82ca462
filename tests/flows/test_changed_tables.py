"""A table that was changed between two nights: what the second night says, and how honest its test accuracy is."""

import logging
import math
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.sample import sample_rows
from flows.train import train
from sentiflow.data.table import TableOptions
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import evaluate_candidate
from sentiflow.scoring import is_positive
from sentiflow.settings import load_settings
from sentiflow.store.find import load_scorer
from sentiflow.store.records import Version
from sentiflow.training.recipes import load_recipe
from tests.world import World, copy_world, make_world

pytestmark = [pytest.mark.story, pytest.mark.weekly]

Row = tuple[str, str]
NAME, NAMES = "reviews-sentiment", ("complaint", "praise")
OPTIONS = TableOptions(labels={NAMES[0]: 0, NAMES[1]: 1})
# Learns its reviews by heart, wrong labels, too: where it has learnt what it is tested on, it looks better.
BY_HEART = load_recipe("tutorial", ["epochs=60", "sequence_length=60", "learning_rate=0.01"])
GENTLE = load_recipe("tutorial", ["epochs=1", "sequence_length=60", "learning_rate=0.0002"])  # forgets nothing


def rows(count: int, seed: int) -> list[Row]:
    """Reviews of which one in five has the wrong label: no honest test comes out far above 80%."""
    made = [(text, label) for text, label, _ in sample_rows(count, 2, seed)][:count]
    return [(text, NAMES[label if number % 5 else 1 - label]) for number, (text, label) in enumerate(made)]


FIRST, FRESH = rows(1_200, 31), rows(2_000, 32)
Look = Callable[[str], str]


def csv(given: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame(given, columns=["text", "label"]).to_csv(path, index=False)


def as_one_file(change: Callable[[list[Row]], list[Row]]) -> Callable[[Path], None]:
    return lambda folder: csv(change(FIRST), folder / "first.csv")


def texts(look: Look) -> Callable[[Path], None]:
    return as_one_file(lambda given: [(look(text), label) for text, label in given])


def labels(name: Callable[[str], str]) -> Callable[[Path], None]:
    return as_one_file(lambda given: [(text, name(label)) for text, label in given])


def in_two(folder: Path) -> None:
    csv(FIRST[:700], folder / "a.csv")
    csv(FIRST[700:], folder / "b.csv")


def corrected(given: list[Row]) -> list[Row]:
    """Half of the wrong labels are put right."""
    return [
        (text, NAMES[1 - NAMES.index(label)] if number % 10 == 0 else label)
        for number, (text, label) in enumerate(given)
    ]


NOTHING_NEW = r"training starts from reviews-sentiment/1 .*; 0 of the reviews to learn from are new to it"


@dataclass(frozen=True)
class Change:
    """What somebody did to the table, and what the second night says of it.

    Attributes:
        write: makes the folder of tables anew.
        said: a pattern of what it says.
        look: how texts look since then.
        relabel: what their labels are since then.
        one: of the names in ``NAMES``, which is label 1 since then.
        options: how the table is read since then.
        gate: a rule that refuses the new version, and a pattern of what it says.
        folder: where the tables are since then.
    """

    write: Callable[[Path], None]
    said: str = NOTHING_NEW
    look: Look = str
    relabel: Callable[[list[Row]], list[Row]] = list
    one: str = NAMES[1]
    options: TableOptions = OPTIONS
    gate: tuple[str, str] | None = None
    folder: str = "reviews"


CHANGES = {
    "spelling": Change(texts(look := lambda text: f" “{text.upper().replace(' ', '  ')}”!"), look=look),
    "HTML": Change(texts(look := lambda text: f"<p class='a'>{text}</p><br />"), look=look),
    "emoji": Change(texts(look := lambda text: f"{text} 🙂"), look=look),
    "truncated": Change(
        texts(look := lambda text: text[:280]), r"; 1\d of the reviews to learn from are new to it", look,
    ),
    "labels turned": Change(
        as_one_file(list), one=NAMES[0], options=TableOptions(labels={NAMES[0]: 1, NAMES[1]: 0}),
        gate=("meaning", "changed places"),
    ),
    "labels translated": Change(
        labels({NAMES[0]: "schlecht", NAMES[1]: "gut"}.__getitem__),
        options=TableOptions(labels={"schlecht": 0, "gut": 1}),
    ),
    "split in two": Change(in_two, r"1,200 texts of 2 tables.*0 of the reviews"),
    "rows corrected": Change(as_one_file(corrected), relabel=corrected),
    "rows removed": Change(as_one_file(lambda given: given[:900])),
    "moved to another folder": Change(as_one_file(list), folder="moved/reviews"),
}  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path, prefect_server: None) -> Iterator[World]:
    """The first night: a version that has learnt its reviews by heart, promoted."""
    made = make_world(tmp_path_factory.mktemp("changed"), migrated_store)
    csv(FIRST, made.root / "reviews" / "first.csv")
    with pytest.MonkeyPatch.context() as patch:
        made.enter(patch)
        train(BY_HEART, str(made.root / "reviews"), 0, table=OPTIONS)
        switch.promote(NAME, 1, load_settings(), force=True, reason="a test")
    yield made


def right(number: int, change: Change) -> float:
    """Accuracy of a version on reviews that no table had, changed as the table was."""
    scorer = load_scorer(load_settings(), Version(NAME, number, ""))
    told = change.relabel(FRESH)
    said = is_positive(scorer.score([change.look(text) for text, _ in told]))
    return float((said == [label == change.one for _, label in told]).mean())


def test_the_first_night_learnt_by_heart(night: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no leak would show."""
    night.enter(monkeypatch)
    scorer = load_scorer(load_settings(), Version(NAME, 1, ""))
    said = is_positive(scorer.score([text for text, _ in FIRST]))
    learnt = float((said == [label == NAMES[1] for _, label in FIRST]).mean())
    assert learnt > right(1, CHANGES["split in two"]) + 0.12


@pytest.mark.parametrize("name", CHANGES)
def test_the_second_night_says_what_changed_and_tests_honestly(
    name: str, night: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change, world = CHANGES[name], copy_world(tmp_path, night)
    world.enter(monkeypatch)
    folder = night.root / change.folder  # a model's dataset is known by its path
    shutil.rmtree(night.root / "reviews", ignore_errors=True)
    shutil.rmtree(night.root / "moved", ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    change.write(folder)
    with caplog.at_level(logging.INFO):
        done = train(GENTLE, str(folder), 0, table=change.options)
    assert re.search(change.said, caplog.text, re.DOTALL), f"{change.said} is not said"
    measured, honest = done.measured, right(done.model.version, change)
    chance = (measured.accuracy_ci_high - measured.accuracy_ci_low) / 2 / 1.96
    both = math.hypot(chance, math.sqrt(honest * (1 - honest) / len(FRESH)))
    assert abs(measured.accuracy - honest) < 3 * both, (
        f"{measured.accuracy:.2%} in the test, {honest:.2%} of others"
    )
    if change.gate is not None:
        rule, told = change.gate
        decision = evaluate_candidate(NAME, done.model.version, load_settings()).decision
        assert [found.text for found in decision.failures if found.name == rule and re.search(told, found.text)]
