"""Which version is judged next, and whether one was judged before."""

import json
from datetime import UTC, datetime

import pytest
from mlflow.tracking import MlflowClient

from sentiflow.errors import RejectedError, UsageError
from sentiflow.promotion.choice import choose, judged_already, need_champion
from sentiflow.promotion.gate import Decision, Rule
from sentiflow.promotion.history import Event
from sentiflow.store.client import connect
from sentiflow.store.types import VersionRecord
from tests.world import World

NAME = "imdb-sentiment"


def version(number: int, loss: str = "0.3", data: str = "d", **gate: str) -> VersionRecord:
    tags = {"val.loss": loss, "dataset.digest": data, **{f"gate.{key}": value for key, value in gate.items()}}
    return VersionRecord(number, datetime(2026, 3, 1, tzinfo=UTC), None, tags)


def record(*failed: str) -> str:
    rules = [Rule(name, name not in failed, 0.0, 1.0, "") for name in ("minimum accuracy", "latency")]
    return json.dumps(Decision(tuple(rules), 0.5, None, None, ()).record())


SLOW, WORSE = record("latency"), record("latency", "minimum accuracy")
REFUSED = {"outcome": "refused", "against": "no champion"}
SILENT = {"outcome": "declined", "against": "no champion", "by": "Nobody"}


def event(number: int, replaced: int | None, *, done: bool = True) -> Event:
    return Event("promotion", number, replaced, "", None, "passed", "", "", "", done=done)


@pytest.mark.parametrize(
    ("versions", "events", "champion", "chosen"),
    [
        ([version(1, "0.31"), version(2, "0.29"), version(3, "0.30")], [], None, 2),
        ([version(1, "0.30"), version(2, "0.30")], [], None, 2),  # the newer of equals
        # registered by hand: it says of no data
        ([version(1), VersionRecord(2, datetime(2026, 3, 1, tzinfo=UTC), None, {})], [], None, 1),
        # other data, another loss
        ([version(1, "0.10", data="other"), version(2)], [], None, 2),
        # the champion, and what it replaced
        ([version(1, "0.10"), version(2, "0.20"), version(3)], [event(1, None), event(2, 1)], 2, 3),
        # rolled back from 2 to 1: never again by itself
        ([version(1), version(2, "0.20"), version(3, "0.29")], [event(1, None), event(2, 1)], 1, 3),
        # a promotion that was killed before the alias moved put nothing in use
        ([version(1), version(2, "0.20")], [event(1, None), event(2, 1, done=False)], 1, 2),
        # refused against this champion: only when nothing else is left
        (
            [version(1), version(2, "0.20", outcome="refused", against="version 1"), version(3, "0.29")],
            [event(1, None)],
            1,
            3,
        ),
        ([version(1), version(2, outcome="refused", against="version 1")], [event(1, None)], 1, 2),
        (
            [version(1), version(2, "0.2", outcome="refused", against="version 4"), version(3)],
            [event(1, None)],
            1,
            2,
        ),
        # refused as a first model, say for its accuracy
        ([version(1, "0.2", outcome="refused", against="no champion"), version(2, "0.3")], [], None, 2),
        # declined by a person: the next best is judged
        ([version(1, "0.2", outcome="declined", against="no champion", by="Ada"), version(2)], [], None, 2),
        # another day may find a refusal for latency wrong, and an answer; but first comes what was not judged
        ([version(1, "0.1", **REFUSED, record=SLOW), version(2, "0.4"), version(3, "0.3")], [], None, 3),
        ([version(1, "0.4", **REFUSED, record=SLOW), version(2, "0.3", **REFUSED, record=WORSE)], [], None, 1),
        ([version(1, "0.4", **SILENT), version(2, "0.3", **REFUSED)], [], None, 1),
        ([version(1, "0.4", **REFUSED, record="[]"), version(2, "0.3", **REFUSED)], [], None, 2),
        ([version(1, "unknown"), version(2, "0.9")], [], None, 2),
        ([version(1, "nan"), version(2, "0.9"), version(3, "0.8")], [], None, 3),
    ],
)
def test_the_candidate_is_chosen_by_validation_among_what_was_never_in_use(
    versions: list[VersionRecord], events: list[Event], champion: int | None, chosen: int
) -> None:
    assert choose({each.number: each for each in versions}, events, champion, "sample")[0] == chosen


@pytest.mark.parametrize(
    ("versions", "events", "champion", "why"),
    [
        ([version(1)], [], None, "the only version"),
        ([version(1), version(2)], [event(1, None)], 1, "the only candidate"),
        (
            [version(1), version(2, "0.25"), version(3)], [event(1, None)], 1,
            "lowest validation loss, 0.2500, of 2 candidates",
        ),
        ([version(1, "unknown"), version(2, "unknown")], [], None, "newest of 2 candidates"),
        # Version 2 has the lower loss, and is not what version 3 was chosen from.
        (
            [version(1), version(2, "0.2", outcome="refused", against="version 1"), version(3, "0.3")],
            [event(1, None)], 1, "the only candidate not refused before",
        ),
    ],
)  # fmt: skip
def test_the_choice_of_a_candidate_is_told_with_its_reason(
    versions: list[VersionRecord], events: list[Event], champion: int | None, why: str
) -> None:
    assert choose({each.number: each for each in versions}, events, champion, "sample")[1] == why


def test_without_a_version_that_was_never_in_use_none_is_chosen() -> None:
    with pytest.raises(UsageError, match="Nothing new to promote"):
        choose({1: version(1), 2: version(2)}, [event(1, None), event(2, 1)], 2, "sample")


@pytest.fixture
def client(world: World) -> MlflowClient:
    """Three versions of one model."""
    client = connect(world.settings)
    client.create_registered_model(NAME)
    for _ in range(3):
        client.create_model_version(NAME, (world.root / "files").as_uri())
    return client


def test_a_version_was_judged_once_it_was_refused_or_in_use_against_the_same_champion(
    world: World, client: MlflowClient
) -> None:
    assert judged_already(world.settings, NAME, 3) is False
    client.set_registered_model_alias(NAME, "champion", "1")
    assert [judged_already(world.settings, NAME, number) for number in (1, 3)] == [True, False]
    for against, outcome, judged in [
        ("version 1", "refused", True), ("version 1", "declined", True), ("no champion", "refused", False),
        ("version 1", "passed", False),
    ]:  # fmt: skip
        client.set_model_version_tag(NAME, "3", "gate.against", against)
        client.set_model_version_tag(NAME, "3", "gate.outcome", outcome)
        assert judged_already(world.settings, NAME, 3) is judged
    for done in (False, True):  # killed before the switch; promoted, and rolled back since
        event = Event("promotion", 3, 1, "", None, "passed", "", "me", "2026-11-29T12:00:00+00:00", done=done)
        client.set_registered_model_tag(NAME, "mlflow.sentiflow.history.000001", event.to_json())
        assert judged_already(world.settings, NAME, 3) is done


def test_a_version_that_was_judged_and_is_not_the_champion_is_told_why(world: World, client: MlflowClient) -> None:
    client.set_registered_model_alias(NAME, "champion", "1")
    need_champion(world.settings, NAME, 1)
    with pytest.raises(RejectedError, match="was in use before"):
        need_champion(world.settings, NAME, 3)
    client.set_model_version_tag(NAME, "3", "gate.outcome", "declined")
    client.set_model_version_tag(NAME, "3", "gate.reason", "too slow")
    with pytest.raises(RejectedError, match="refused before: too slow") as refused:
        need_champion(world.settings, NAME, 3)
    assert "sentiflow promote 3 --dataset imdb" in refused.value.hint
