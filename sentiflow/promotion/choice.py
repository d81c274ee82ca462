"""Which version is judged next, and whether one was judged before; by the tags that a judgement leaves."""

import json
import math
from collections.abc import Mapping, Sequence

from sentiflow.errors import RejectedError, UsageError
from sentiflow.names import dataset_of
from sentiflow.promotion import gate
from sentiflow.promotion.history import Event, history_of, took_effect
from sentiflow.runs.record import number as parse_number
from sentiflow.settings import Settings
from sentiflow.store.find import open_store
from sentiflow.store.types import VALIDATION_LOSS, VersionRecord, compared_with
from sentiflow.store.versions import champion_of, reproduction_of

GATE = "gate.settings"  # tag of a version
NOBODY = "Nobody"  # its tag gate.by where a person was asked, and none answered
_REFUSALS = ("refused", "declined")  # of its tag gate.outcome
_NOTHING_NEW = "Nothing new to promote"
_ALL_USED = "every version of the newest data is the champion or was champion before."
_PASSING, _FINAL = 1, 2  # refusals that another day may change, and those that it does not
_KINDS = " not refused before", " refused for its latency alone, or for want of an answer", ""


def nothing_new(name: str, number: int | None, settings: Settings) -> str:
    """Say why a promotion that nobody watches has nothing to judge; empty if it has.

    There is no version, the one that is named is the champion, or none is named and the one that ``choose`` gives
    was judged before: against this champion and by these settings, or declined by a person. Judged again is what
    failed by its latency alone, which a busy machine may have measured, and what nobody answered about.
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
    tags = versions[number].tags
    other_gate = tags.get("gate.outcome") == "refused" and tags.get(GATE) != gate_of(tags, settings)
    if _standing(tags, champion) < _FINAL or other_gate:
        return ""
    before = f"{name} version {number} was {tags.get('gate.outcome')} before: {tags.get('gate.reason')}"
    return f"{_NOTHING_NEW}: {before} To judge it again: sentiflow promote {number} --dataset {dataset_of(name)}"


def choose(
    versions: Mapping[int, VersionRecord], events: Sequence[Event], champion: int | None, dataset: str
) -> tuple[int, str]:
    """Choose the candidate: the lowest validation loss of the versions that were never in use.

    Only versions trained on the newest one's data can be compared. Those that were refused or declined against
    this champion come last, and versions without a validation loss after them. Gives the number, and why it was
    chosen.

    Raises:
        UsageError: every version was in use before.
    """
    left = _never_used(versions, events, champion)
    if not left:
        raise UsageError(
            f"{_NOTHING_NEW}: {_ALL_USED}",
            f"To promote one again, name it: sentiflow promote VERSION --dataset {dataset}",
        )

    standing = {number: _standing(versions[number].tags, champion) for number in left}
    first = min(standing.values())
    candidates = [number for number in left if standing[number] == first]
    best = min(candidates, key=lambda number: (_validation_loss(versions[number]), -number))
    loss = _validation_loss(versions[best])
    kind = "" if len(candidates) == len(left) else _KINDS[first]
    if len(candidates) == 1:
        return best, "the only version" if len(versions) == 1 else f"the only candidate{kind}"
    why = "newest" if math.isinf(loss) else f"lowest validation loss, {loss:.4f},"
    return best, f"{why} of {len(candidates)} candidates{kind}"


def _standing(tags: Mapping[str, str], champion: int | None) -> int:
    """How a version stands against a champion, by its tags: an index of ``_KINDS``."""
    outcome = tags.get("gate.outcome")
    if outcome not in _REFUSALS or tags.get("gate.against") != compared_with(champion):
        return 0
    if outcome == "declined":
        return _PASSING if tags.get("gate.by") == NOBODY else _FINAL
    try:
        failed = {rule["name"] for rule in json.loads(tags["gate.record"])["rules"] if not rule["passed"]}
    except (ValueError, KeyError, TypeError):  # a person wrote it
        return _FINAL
    return _PASSING if failed == {gate.LATENCY} else _FINAL


def _never_used(versions: Mapping[int, VersionRecord], events: Sequence[Event], champion: int | None) -> list[int]:
    """The versions of the newest one's data that are not the champion and never were."""
    used = _used(events, champion)
    known = [number for number, version in versions.items() if "dataset.digest" in version.tags]
    data = versions[max(known)].tags["dataset.digest"] if known else None  # one registered by hand does not say
    return [
        number
        for number, version in versions.items()
        if number not in used and version.tags.get("dataset.digest") == data
    ]


def _used(events: Sequence[Event], champion: int | None) -> set[int | None]:
    """The versions that are or were in use."""
    used = {champion}
    for event, done in zip(events, took_effect(events, champion), strict=True):
        used |= {event.version, event.replaced} if done else {event.replaced}
    return used


def _validation_loss(version: VersionRecord) -> float:
    """Of a version; infinite when it does not say."""
    loss = parse_number(version.tags.get(VALIDATION_LOSS))
    return math.inf if loss is None else loss


def judged_already(settings: Settings, name: str, number: int) -> bool:
    """Whether a version is or was in use, or was refused as it stands against today's champion.

    One that passed and never came into use was not: its promotion was killed.
    """
    events, champion = history_of(name, settings)
    found = open_store(settings).version(name, number)
    refused = found is not None and _standing(found.tags, champion) > 0
    return refused or number in _used(events, champion)


def gate_of(tags: Mapping[str, str], settings: Settings) -> str:
    """What a judgement depends on besides the two models: the limits, and how the version was reproduced."""
    limits = settings.model_dump(include={field for field in Settings.model_fields if field.startswith("gate_")})
    return json.dumps(limits | {"reproduced": reproduction_of(tags)}, sort_keys=True)


def need_champion(settings: Settings, name: str, number: int) -> None:
    """Check that a version that was judged before is the champion.

    Raises:
        RejectedError: it was refused, or is in use no more.
    """
    store = open_store(settings)
    if champion_of(store, name) != number:
        found = store.version(name, number)
        tags = {} if found is None else found.tags
        refused = f"was refused before: {tags.get('gate.reason', '')}"
        what = refused if tags.get("gate.outcome") in _REFUSALS else "was in use before, and is not now."
        raise RejectedError(
            f"{name} version {number}, an equal one, {what}",
            f"To judge it again: sentiflow promote {number} --dataset {dataset_of(name)}",
        )
