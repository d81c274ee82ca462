"""Tests of the champion's history, on events made by hand."""

import pytest

from sentiflow.errors import UsageError
from sentiflow.promotion.history import (
    Event,
    champion_stack,
    check_request,
    history_of,
    previous_champion,
    took_effect,
)
from tests.world import World

AT = "2026-01-01T00:00:00+00:00"


def promote(version: int, replaced: int | None, *, done: bool = True) -> Event:
    return Event("promotion", version, replaced, "run", 0.9, "passed", "why", "me", AT, ("a rule",), done)


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


def test_an_event_is_readable_in_mlflow_and_not_yet_done() -> None:
    event = Event("promotion", 1, None, "run", 0.9, "passed", "größer", "Zoë", AT)
    assert '"done": false' in event.to_json()
    assert '"reason": "größer"' in event.to_json() and '"by": "Zoë"' in event.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rules": []}', '"x"', "nonsense"])
def test_other_json_is_no_event(text: str) -> None:
    with pytest.raises(ValueError):
        Event.from_json(text)


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


def test_a_killed_promotion_is_no_place_to_roll_back_to_whatever_was_set_by_hand_since() -> None:
    events = [promote(1, None), promote(2, 1, done=False)]
    assert champion_stack(events, 3) == [1, 3]
    assert previous_champion(events, 3, {1, 2, 3}) == 1


def test_without_a_champion_nothing_stands_in_line() -> None:
    assert champion_stack([promote(1, None)], None) == []


def test_a_model_that_is_not_there_has_no_history_and_no_champion(world: World) -> None:
    assert history_of("mine-sentiment", world.settings) == ([], None)
