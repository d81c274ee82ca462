"""The history: promotions, declines and rollbacks as events; which version is judged next, or was judged before.

An event is written before the champion's alias moves, and marked as done afterwards. If the process is killed in
between, the event took effect only if the alias holds its version.
"""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal, Self

from sentiflow.data.inputs import digest_of
from sentiflow.errors import RejectedError, UsageError
from sentiflow.names import dataset_of
from sentiflow.settings import Settings
from sentiflow.store.find import champion_of, open_store, reproduction_of
from sentiflow.store.records import HIDDEN, VersionRecord, best_by_validation, compared_with, of_newest_data

Kind = Literal["promotion", "decline", "rollback"]
MAX_REASON = 2_000  # characters
PREFIX = f"{HIDDEN}history."  # of tags of the registered model, one an event: they outlive each version
TAG = re.compile(rf"{re.escape(PREFIX)}\d{{6}}")
GATE = "gate.settings"  # tag of a version
APPROVAL, REQUIRED = "promotion.approval", "required"  # tag of a registered model, and how its value begins
WAITS = "promotion.waits"  # tag of a version until a person answers: it ``passed``, or is ``forced``
_NOTHING_NEW = "Nothing new to promote"
_ALL_USED = "every version of the newest data is the champion or was champion before."


def check_request(reason: str, *, force: bool = False) -> None:
    """Check a request before anything is done: its reason is not too long, and force has one."""
    if len(reason) > MAX_REASON:
        raise UsageError(f"A reason has at most {MAX_REASON} characters, this one {len(reason)}.", "Shorten it.")
    if force and not reason.strip():
        raise UsageError("--force needs a reason.", 'For example: --force --reason "better on long reviews"')


@dataclass(frozen=True)
class Event:
    """A promotion or rollback to ``version``, or a person's no to it, which moves nothing."""

    kind: Kind
    version: int
    replaced: int | None
    run_id: str
    accuracy: float | None
    decision: str  # passed by the gate, approved or declined by a person, forced or rollback
    reason: str
    by: str
    at: str  # ISO 8601 in UTC
    rules: tuple[str, ...] = ()  # of the gate, one line each
    done: bool = False  # whether the alias has moved

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**fields | {"rules": tuple(fields["rules"])})

    @property
    def said(self) -> str:
        at = datetime.fromisoformat(self.at)
        return f"{self.decision} by {self.by} on {at:%Y-%m-%d %H:%M} UTC: {self.reason}"


def asks(name: str, settings: Settings) -> bool:
    """Whether a person decides last about promotions: by the settings, or by a tag of the registered model."""
    model = None if settings.promotion_approval else open_store(settings).model(name)
    return settings.promotion_approval or bool(model and model.tags.get(APPROVAL, "").startswith(REQUIRED))


def how_to_answer(name: str, number: int) -> str:
    """What a person does about a version that waits."""
    command = f"sentiflow promote {number} --dataset {dataset_of(name)}"
    return f'It waits for a person: {command} --approve, or --decline --reason "..."'


def history_of(name: str, settings: Settings) -> tuple[list[Event], int | None]:
    """Every promotion and rollback that was begun, and every decline, oldest first, and today's champion."""
    model = open_store(settings).model(name)
    if model is None:
        return [], None
    return [Event.from_json(model.tags[key]) for key in sorted(model.tags) if TAG.fullmatch(key)], model.champion


def took_effect(events: Sequence[Event], champion: int | None) -> list[bool]:
    """Whether each event, oldest first, made its version the champion: it is marked so, or the next one saw it."""
    found: list[bool] = []
    after = champion  # in the alias
    for event in reversed(events):
        moves = event.kind != "decline"
        found.append(moves and (event.done or event.version == after))
        after = event.replaced if moves else after
    return found[::-1]


def decline_of(events: Sequence[Event], *numbers: int) -> Event | None:
    """The no of a person to a version, or to equal ones, that stands: nobody has promoted it since."""
    about = [event for event in events if event.version in numbers and event.kind != "rollback"]
    return about[-1] if about and about[-1].kind == "decline" else None


def champion_stack(events: Sequence[Event], champion: int | None) -> list[int]:
    """Stack of champions, oldest first: promotions and other means push, a rollback pops those above."""
    stack: list[int] = []
    for event, done in zip(events, took_effect(events, champion), strict=True):
        _add(stack, event.replaced)
        if not done:
            continue
        if event.kind == "rollback" and event.version in stack:
            while stack[-1] != event.version:
                stack.pop()
        else:
            _add(stack, event.version)
    _add(stack, champion)
    return stack if champion is not None else []


def previous_champion(events: Sequence[Event], champion: int, existing: Collection[int]) -> int | None:
    """The version that a rollback restores: the last one below the champion that was not deleted, or None."""
    below = champion_stack(events, champion)[:-1]
    candidates = [version for version in below if version in existing and version != champion]
    return candidates[-1] if candidates else None


def _add(stack: list[int], version: int | None) -> None:
    if version is not None and (not stack or stack[-1] != version):
        stack.append(version)


def nothing_new(name: str, number: int | None, settings: Settings) -> str:
    """Say why a promotion that nobody watches has nothing to judge; empty if it has.

    There is no version, the one that is named is the champion, or none is named and the one that ``choose`` gives
    was judged before, against this champion and by these settings, waits for a person, or was declined by one.
    """
    store = open_store(settings)
    champion, versions = champion_of(store, name), {each.number: each for each in store.versions(name)}
    if not versions:
        return f"{_NOTHING_NEW}: no version is registered as {name}."
    if number is not None:
        return f"{_NOTHING_NEW}: {name} version {number} is the champion already." if number == champion else ""
    events = history_of(name, settings)[0]
    if not _never_used(versions, events, champion):
        return f"{_NOTHING_NEW}: {_ALL_USED}"
    number, _ = choose(versions, events, champion, dataset_of(name))
    if no := decline_of(events, number):
        return f"{_NOTHING_NEW}: {name} version {number} was {no.said}"
    tags = versions[number].tags
    if WAITS in tags:
        return f"{_NOTHING_NEW}: {name} version {number} waits for a person's answer."
    if not _was_refused(tags, champion) or tags.get(GATE) != gate_of(tags, settings):
        return ""
    before = f"{name} version {number} was refused before: {tags.get('gate.reason')}"
    return f"{_NOTHING_NEW}: {before} To judge it again: sentiflow promote {number} --dataset {dataset_of(name)}"


def choose(
    versions: Mapping[int, VersionRecord], events: Sequence[Event], champion: int | None, dataset: str
) -> tuple[int, str]:
    """Choose the candidate: the lowest validation loss of the versions that were never in use.

    Only versions trained on the newest one's data can be compared. Those that were refused against this champion
    come last, those that a person declined after them. Gives the number, and why it was chosen.
    """
    left = _never_used(versions, events, champion)
    if not left:
        raise UsageError(f"{_NOTHING_NEW}: {_ALL_USED}", f"Name it: sentiflow promote VERSION --dataset {dataset}")
    allowed = [number for number in left if not decline_of(events, number)]
    candidates = [number for number in allowed if not _was_refused(versions[number].tags, champion)]
    candidates = candidates or allowed or left
    best, loss = best_by_validation(versions, candidates)
    if len(candidates) == 1:
        return best, "the only version" if len(versions) == 1 else "the only candidate"
    why = "newest" if math.isinf(loss) else f"lowest validation loss, {loss:.4f},"
    return best, f"{why} of {len(candidates)} candidates"


def _was_refused(tags: Mapping[str, str], champion: int | None) -> bool:
    return tags.get("gate.outcome") == "refused" and tags.get("gate.against") == compared_with(champion)


def _never_used(versions: Mapping[int, VersionRecord], events: Sequence[Event], champion: int | None) -> list[int]:
    """The versions of the newest one's data that are not the champion and never were."""
    used = _used(events, champion)
    return [number for number in of_newest_data(versions) if number not in used]


def _used(events: Sequence[Event], champion: int | None) -> set[int | None]:
    used = {champion}
    for event, done in zip(events, took_effect(events, champion), strict=True):
        used |= {event.version, event.replaced} if done else {event.replaced}
    return used


def judged_already(settings: Settings, name: str, number: int) -> bool:
    """Whether a version was in use, declined, or refused as it stands, or waits for a person's answer."""
    events, champion = history_of(name, settings)
    found = open_store(settings).version(name, number)
    judged = found is not None and (WAITS in found.tags or _was_refused(found.tags, champion))
    return judged or decline_of(events, number) is not None or number in _used(events, champion)


def gate_of(tags: Mapping[str, str], settings: Settings) -> str:
    """What a judgement depends on besides the two models: the limits, and how the version was reproduced."""
    names = {field for field in Settings.model_fields if field.startswith("gate_")}
    limits = settings.model_dump(mode="json", include=names)
    if (table := settings.gate_behaviour) and table.is_file():
        limits["gate_behaviour"] = digest_of([table])
    return json.dumps(limits | {"reproduced": reproduction_of(tags)}, sort_keys=True)


def need_champion(settings: Settings, name: str, number: int) -> None:
    """Check that a version that was judged before is the champion, or waits for a person."""
    store = open_store(settings)
    if champion_of(store, name) != number:
        found = store.version(name, number)
        tags = {} if found is None else found.tags
        if WAITS in tags:
            return
        no = decline_of(history_of(name, settings)[0], number)
        before = no.said if no else f"{tags.get('gate.outcome', 'judged')} before: {tags.get('gate.reason', '')}"
        problem = f"{name} version {number}, an equal one, is not in use; it was {before}"
        raise RejectedError(problem, f"To judge it again: sentiflow promote {number} --dataset {dataset_of(name)}")
