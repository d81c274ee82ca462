"""Tables of behaviour: what a version answers on groups of short texts."""

from pathlib import Path

import pytest

from sentiflow.base import model as base
from sentiflow.errors import UsageError
from sentiflow.promotion.candidate import evaluate_candidate
from sentiflow.promotion.history import gate_of
from sentiflow.promotion.scores import of_behaviour
from sentiflow.promotion.switch import promote
from sentiflow.settings import Settings
from sentiflow.store.client import connect
from tests.world import Registry, World

ROWS = [
    "a wonderful, moving and beautiful film;positive;plain",
    "a dull, boring waste of time, terrible;NEGATIVE;plain",
    "a wonderful, moving and beautiful film;negative;turned round",
]


def table(folder: Path, *rows: str) -> Settings:
    file = folder / "behaviour.csv"
    file.write_text("\n".join(["text;label;group", *rows]))
    return Settings(gate_behaviour=file)


def test_each_group_has_what_a_version_labels_correctly(tmp_path: Path) -> None:
    scorer = base.base().scorer
    plain, turned = of_behaviour(table(tmp_path, *ROWS), scorer, scorer)
    assert (plain.name, plain.candidate.tolist()) == ("plain", [True, True])
    assert (turned.name, turned.candidate.tolist()) == ("turned round", [False])
    assert plain.champion is not None and plain.champion.tolist() == [True, True]
    assert [each.champion for each in of_behaviour(table(tmp_path, *ROWS), scorer, None)] == [None, None]
    assert of_behaviour(Settings(), scorer, None) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("text,label\nfine,1\n", "no column group"),
        ("text,label,group\nfine,perhaps,names\n", "row 1: label 'perhaps', group 'names'"),
        ("text,label,group\nfine,1,\n", "row 1: label '1', group ''"),
        ("text,label,group\nfine,1,a\n,1,a\n", "row 2: no text"),
        ("text,label,group\n", "has no rows"),
    ],
)
def test_a_table_that_tells_nothing_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "behaviour.csv"
    file.write_text(content)
    with pytest.raises(UsageError) as told:
        of_behaviour(Settings(gate_behaviour=file), base.base().scorer, None)
    assert problem in str(told.value) and "SENTIFLOW_GATE_BEHAVIOUR" in told.value.hint


def test_the_gate_compares_each_group_with_the_champion(registry: World, tmp_path: Path) -> None:
    rows = [f"{text};{label};{label}" for label in ("negative", "positive") for text in ["a film"] * 60]
    settings = registry.settings.model_copy(update={"gate_behaviour": table(tmp_path, *rows).gate_behaviour})
    connect(settings).set_registered_model_alias("sample-sentiment", "champion", str(Registry.POOR))
    rules = evaluate_candidate("sample-sentiment", Registry.GOOD, settings).decision.rules
    assert {"slice negative", "slice positive"} <= {rule.name for rule in rules}


def test_a_version_is_judged_again_when_the_table_changes(tmp_path: Path) -> None:
    before = gate_of({}, table(tmp_path, *ROWS))
    assert before == gate_of({}, table(tmp_path, *ROWS)) != gate_of({}, table(tmp_path, *ROWS[:2]))


def test_a_version_is_promoted_by_a_table_of_behaviour(registry: World, tmp_path: Path) -> None:
    """Red if what the version keeps of its judgement cannot be written."""
    settings = registry.settings.model_copy(update={"gate_behaviour": table(tmp_path, *ROWS).gate_behaviour})
    promote("sample-sentiment", Registry.GOOD, settings)
    tags = connect(settings).get_model_version("sample-sentiment", str(Registry.GOOD)).tags
    assert tags["gate.outcome"] == "passed" and "Texts of behaviour that are right: plain " in tags["gate.record"]
