"""The champion's history, on events made by hand, and which version is judged next."""

from datetime import UTC, datetime

import pytest
from mlflow.tracking import MlflowClient

from sentiflow.errors import RejectedError, UsageError
from sentiflow.promotion.history import (
    Event,
    champion_stack,
    check_request,
    choose,
    history_of,
    judged_already,
    need_champion,
    previous_champion,
    took_effect,
)
from sentiflow.store.client import connect
from sentiflow.store.records import VersionRecord
from tests.world import World

NAME = "imdb-sentiment"

AT = "2026-01-01T00:00:00+00:00"


def promote(version: int, replaced: int | None, *, done: bool = True) -> Event:
    return Event("promotion", version, replaced, "run", 0.9, "passed", "why", "me", AT, ("a rule",), done)


def decline(version: int) -> Event:
    return Event("decline", version, None, "run", 0.9, "declined", "why", "me", AT)


def roll_back(version: int, replaced: int) -> Event:
    return Event("rollback", version, replaced, "run", None, "rollback", "why", "me", AT, (), done=True)


def test_a_reason_has_at_most_2000_characters() -> None:
    check_request("x" * 2_000, force=True)
    with pytest.raises(UsageError, match="at most 2000 characters, this one 2001"):
        check_request("x" * 2_001)


@pytest.mark.parametrize("reason", ["", " \n"])
def test_a_forced_promotion_needs_a_reason(reason: str) -> None:
    check_request(reason)
    check_request("long reviews", force=True)
    with pytest.raises(UsageError, match="--force needs a reason"):
        check_request(reason, force=True)


def test_an_event_survives_json() -> None:
    for event in (promote(2, None), roll_back(1, 2)):
        assert Event.from_json(event.to_json()) == event


def test_a_second_rollback_goes_further_back_instead_of_forth() -> None:
    events = [promote(1, None), promote(2, 1), promote(3, 2)]
    assert previous_champion(events, 3, {1, 2, 3}) == 2
    events.append(roll_back(2, 3))
    assert previous_champion(events, 2, {1, 2, 3}) == 1
    events.append(roll_back(1, 2))
    assert previous_champion(events, 1, {1, 2, 3}) is None


def test_after_a_rollback_a_new_promotion_leads_back_to_where_it_started() -> None:
    events = [promote(1, None), promote(2, 1), roll_back(1, 2), promote(3, 1)]
    assert champion_stack(events, 3) == [1, 3]
    assert previous_champion(events, 3, {1, 2, 3}) == 1


def test_a_version_promoted_twice_has_two_places_in_the_line() -> None:
    events = [promote(1, None), promote(2, 1), promote(1, 2)]
    assert champion_stack(events, 1) == [1, 2, 1]
    events.append(roll_back(2, 1))
    assert champion_stack(events, 2) == [1, 2]
    assert previous_champion(events, 2, {1, 2}) == 1


def test_a_deleted_version_is_passed_over() -> None:
    events = [promote(1, None), promote(2, 1), promote(3, 2)]
    assert previous_champion(events, 3, {1, 3}) == 1
    events.append(roll_back(1, 3))
    assert champion_stack(events, 1) == [1]


def test_a_promotion_whose_process_was_killed_before_the_switch_never_took_effect() -> None:
    killed = promote(2, 1, done=False)
    assert took_effect([promote(1, None), killed, promote(3, 1)], 3) == [True, False, True]
    assert champion_stack([promote(1, None), killed, promote(3, 1), promote(4, 3)], 4) == [1, 3, 4]
    assert champion_stack([promote(1, None), killed, promote(3, 1)], 3) == [1, 3]
    assert took_effect([promote(1, None), killed], 1) == [True, False]
    assert previous_champion([promote(1, None), killed], 1, {1, 2}) is None


def test_one_whose_process_was_killed_right_after_the_switch_did() -> None:
    killed = promote(2, 1, done=False)
    assert took_effect([promote(1, None), killed], 2) == [True, True]
    assert took_effect([promote(1, None), killed, promote(3, 2)], 3) == [True, True, True]
    assert previous_champion([promote(1, None), killed, promote(3, 2)], 3, {1, 2, 3}) == 2


def test_a_champion_set_by_other_means_undoes_no_history_and_takes_its_place_in_the_line() -> None:
    events = [promote(1, None), promote(2, 1)]
    assert took_effect(events, 1) == [True, True]  # by hand back to 1
    assert champion_stack(events, 1) == [1, 2, 1]
    assert champion_stack([promote(1, None)], 7) == [1, 7]
    assert champion_stack([promote(2, 7)], 2) == [7, 2]
    assert previous_champion([], 7, {7}) is None


def test_a_decline_moves_nothing_whatever_came_before_and_after() -> None:
    events = [promote(1, None), decline(2), promote(2, 1, done=False), decline(2), promote(3, 2)]
    assert took_effect(events, 3) == [True, False, True, False, True]
    assert champion_stack(events, 3) == [1, 2, 3]


def test_a_model_that_is_not_there_has_no_history_and_no_champion(world: World) -> None:
    assert history_of("mine-sentiment", world.settings) == ([], None)


def version(number: int, loss: str = "0.3", data: str = "d", **gate: str) -> VersionRecord:
    tags = {"val.loss": loss, "dataset.digest": data, **{f"gate.{key}": value for key, value in gate.items()}}
    return VersionRecord(number, datetime(2026, 3, 1, tzinfo=UTC), None, tags)


REFUSED = {"outcome": "refused", "against": "no champion"}
SILENT = {"outcome": "waits", "against": "no champion"}


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
        ([version(1, "0.10"), version(2, "0.20"), version(3)], [promote(1, None), promote(2, 1)], 2, 3),
        # rolled back from 2 to 1: never again by itself
        ([version(1), version(2, "0.20"), version(3, "0.29")], [promote(1, None), promote(2, 1)], 1, 3),
        # a promotion that was killed before the alias moved put nothing in use
        ([version(1), version(2, "0.20")], [promote(1, None), promote(2, 1, done=False)], 1, 2),
        # refused against this champion: only when nothing else is left
        (
            [version(1), version(2, "0.20", outcome="refused", against="version 1"), version(3, "0.29")],
            [promote(1, None)],
            1,
            3,
        ),
        ([version(1), version(2, outcome="refused", against="version 1")], [promote(1, None)], 1, 2),
        (
            [version(1), version(2, "0.2", outcome="refused", against="version 4"), version(3)],
            [promote(1, None)],
            1,
            2,
        ),
        # refused as a first model, say for its accuracy
        ([version(1, "0.2", outcome="refused", against="no champion"), version(2, "0.3")], [], None, 2),
        # declined by a person: the next best is judged
        ([version(1, "0.2"), version(2)], [decline(1)], None, 2),
        # whatever the champion is now, and before what the gate refused
        (
            [version(1, "0.2"), version(2, outcome="refused", against="version 3"), version(3)],
            [decline(1), promote(3, None)],
            3,
            2,
        ),
        # somebody forced it since, and its process was killed
        ([version(1, "0.2"), version(2)], [decline(1), promote(1, None, done=False)], None, 1),
        # nobody answered: it is judged as one that never was
        ([version(1, "0.4", **SILENT), version(2, "0.3", **REFUSED)], [], None, 1),
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
        ([version(1), version(2)], [promote(1, None)], 1, "the only candidate"),
        (
            [version(1), version(2, "0.25"), version(3)], [promote(1, None)], 1,
            "lowest validation loss, 0.2500, of 2 candidates",
        ),
        ([version(1, "unknown"), version(2, "unknown")], [], None, "newest of 2 candidates"),
        # Version 2 has the lower loss, and is not what version 3 was chosen from.
        (
            [version(1), version(2, "0.2", outcome="refused", against="version 1"), version(3, "0.3")],
            [promote(1, None)], 1, "the only candidate",
        ),
    ],
)  # fmt: skip
def test_the_choice_of_a_candidate_is_told_with_its_reason(
    versions: list[VersionRecord], events: list[Event], champion: int | None, why: str
) -> None:
    assert choose({each.number: each for each in versions}, events, champion, "sample")[1] == why


def test_without_a_version_that_was_never_in_use_none_is_chosen() -> None:
    with pytest.raises(UsageError, match="Nothing new to promote"):
        choose({1: version(1), 2: version(2)}, [promote(1, None), promote(2, 1)], 2, "sample")


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
        ("version 1", "refused", True), ("version 1", "waits", False), ("no champion", "refused", False),
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
    with pytest.raises(RejectedError, match="an equal one, is not in use"):
        need_champion(world.settings, NAME, 3)
    client.set_registered_model_tag(NAME, "mlflow.sentiflow.history.000001", decline(3).to_json())
    with pytest.raises(RejectedError, match="it was declined by me on 2026-01-01 00:00 UTC: why") as refused:
        need_champion(world.settings, NAME, 3)
    assert "sentiflow promote 3 --dataset imdb" in refused.value.hint
