"""Promotion and rollback: evaluate, decide, move the champion's alias, write the history."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mlflow.tracking import MlflowClient

from sentiflow.errors import RefusedError, UsageError, WorldError
from sentiflow.evaluation.promotions import Event, before
from sentiflow.locks import champion_lock
from sentiflow.process import person
from sentiflow.settings import Settings
from sentiflow.tracking.candidate import Weighed, load
from sentiflow.tracking.client import champion_of, connect, need_model, need_version, tracking_errors, versions_of
from sentiflow.tracking.types import ACCURACY, CHAMPION, parse_fraction
from sentiflow.tracking.versions import EVENT_TAG, events_in

LONGEST_REASON = 2_000  # characters
NO_REASON = "the gate passed"

Answer = Literal["passed", "approved", "forced", "refused", "declined"]


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a candidate.

    Attributes:
        answer: the gate ``passed`` or ``refused`` it, a person ``approved`` or ``declined`` it, or ``forced`` it.
        reason: why; of a refusal, the rules that do not hold.
        by: who says so.
    """

    answer: Answer
    reason: str
    by: str

    @property
    def promotes(self) -> bool:
        """Whether the candidate becomes champion."""
        return self.answer in ("passed", "approved", "forced")


@dataclass(frozen=True)
class Outcome:
    """What came of a candidate: the event that made it champion, or None."""

    weighed: Weighed
    verdict: Verdict
    event: Event | None

    def need_promotion(self) -> Event:
        """The event.

        Raises:
            RefusedError: there is none, as the gate or a person said no.
        """
        if self.event is None:
            who = "The gate" if self.verdict.answer == "refused" else self.verdict.by
            raise RefusedError(
                f"{who} refuses {self.weighed.name} version {self.weighed.version}: {self.verdict.reason}",
                self._way_past,
            )
        return self.event

    @property
    def _way_past(self) -> str:
        """What to do about a no of the gate; a person's no stands."""
        if self.verdict.answer != "refused":
            return ""
        whose = self.weighed.name.removesuffix("-sentiment")
        command = f"sentiflow promote {self.weighed.version} --dataset {whose}"
        return f'Promote it all the same with: {command} --force --reason "..."'


def check_reason(reason: str) -> None:
    """Refuse a reason that is a book.

    Raises:
        UsageError: it is too long.
    """
    if len(reason) > LONGEST_REASON:
        raise UsageError(
            f"A reason has at most {LONGEST_REASON} characters, this one {len(reason)}.", "Shorten it."
        )


def check_request(*, force: bool, reason: str) -> None:
    """Refuse a forced promotion without a reason, or a reason that is a book, before anything is weighed.

    Raises:
        UsageError: it is so.
    """
    check_reason(reason)
    if force and not reason.strip():
        raise UsageError(
            "--force needs a reason.", 'For example: --force --reason "the champion fails on long reviews"'
        )


def decide(weighed: Weighed, *, force: bool, reason: str) -> Verdict:
    """Let the gate's outcome stand, or a person's force.

    Raises:
        UsageError: it is forced without a reason.
    """
    check_request(force=force, reason=reason)
    if weighed.decision.passed:
        return Verdict("passed", reason.strip() or NO_REASON, person())
    if force:
        return Verdict("forced", reason.strip(), person())
    return Verdict("refused", "; ".join(rule.told for rule in weighed.decision.failures) + ".", "the gate")


def carry_out(weighed: Weighed, verdict: Verdict, settings: Settings) -> Outcome:
    """Write the outcome on the candidate's version and, unless it is a no, make it champion.

    Written: what the gate and people said, on the version; of a promotion also who, when, why and what it
    replaces, the event in the model's history, and the alias last.

    Raises:
        WorldError: the champion is no longer the one that was weighed against, or the candidate or its files are
            gone; nothing was written.
    """
    name, number = weighed.name, weighed.version
    with changing(name, settings) as client:
        if number not in versions_of(client, name):
            raise WorldError(f"{name} version {number} was deleted meanwhile.", "Nothing was changed.")
        if verdict.promotes:
            need_unchanged(client, name, weighed.champion)
            need_files(name, number)
        _write_outcome(client, weighed, verdict)
        if not verdict.promotes:
            return Outcome(weighed, verdict, None)
        event = _promotion(weighed, verdict)
        move(client, name, event)
    return Outcome(weighed, verdict, event)


def _promotion(weighed: Weighed, verdict: Verdict) -> Event:
    return Event(
        kind="promotion",
        version=weighed.version,
        replaced=weighed.champion,
        run_id=weighed.run_id,
        accuracy=weighed.decision.accuracy,
        decision=verdict.answer,
        reason=verdict.reason,
        by=verdict.by,
        at=now(),
        rules=tuple(f"{'yes' if rule.passed else 'NO'}: {rule.told}" for rule in weighed.decision.rules),
    )


def rollback(name: str, reason: str, settings: Settings) -> Event:
    """Make the version champion again that the champion replaced; again goes further back.

    Written: as ``switch``.

    Raises:
        UsageError: no reason, no champion, or nothing before it.
        WorldError: the store fails, or the version's files are gone.
    """
    check_reason(reason)
    if not reason.strip():
        raise UsageError(
            "A rollback needs a reason.", 'For example: sentiflow rollback --reason "wrong on long reviews"'
        )
    with changing(name, settings) as client:
        versions = need_model(client, name)
        champion = champion_of(client, name)
        if champion is None:
            raise UsageError(f"{name} has no champion to take back.", "Make one: sentiflow promote")
        target = before(events_in(client.get_registered_model(name).tags, name), champion, versions)
        if target is None:
            raise UsageError(
                f"{name} version {champion} replaced no version that is still there.", "See: sentiflow history"
            )
        need_files(name, target)
        event = Event(
            kind="rollback",
            version=target,
            replaced=champion,
            run_id=str(versions[target].run_id),
            accuracy=parse_fraction(versions[target].tags.get(ACCURACY)),
            decision="rollback",
            reason=reason.strip(),
            by=person(),
            at=now(),
        )
        move(client, name, event)
    return event


def delete(name: str, number: int, settings: Settings) -> None:
    """Delete a version; its run and its files in the store stay.

    Raises:
        UsageError: there is no such version, or an alias holds it.
    """
    with changing(name, settings) as client:
        need_version(need_model(client, name), name, number)
        aliases = client.get_registered_model(name).aliases
        held = sorted(alias for alias, version in aliases.items() if int(version) == number)
        if held:
            hint = (
                "Promote another or roll back first." if CHAMPION in held else "Remove the alias in MLflow first."
            )
            raise UsageError(f"{name} version {number} is held by the alias {', '.join(held)}.", hint)
        client.delete_model_version(name, str(number))


def need_files(name: str, number: int) -> None:
    """Load a version once more: a champion without its files would be worse than a bad one.

    Raises:
        WorldError: it cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        load(name, number, Path(folder))


def _write_outcome(client: MlflowClient, weighed: Weighed, verdict: Verdict) -> None:
    tags = {
        "gate.against": "no champion" if weighed.champion is None else f"version {weighed.champion}",
        "gate.reason": verdict.reason,
        "gate.by": verdict.by,
        "gate.at": now(),
        "gate.record": json.dumps(weighed.decision.record(), ensure_ascii=False),
        "gate.outcome": verdict.answer,  # last: whoever sees it finds the others
    }
    for key, value in tags.items():
        client.set_model_version_tag(weighed.name, str(weighed.version), key, value)


_HISTORY = "history."  # tags of the registered model: they outlive each version


@contextmanager
def changing(name: str, settings: Settings) -> Iterator[MlflowClient]:
    """Connect to the store with the champion's lock held: nobody else moves it meanwhile."""
    with champion_lock(name, settings), tracking_errors(settings.tracking_uri):
        yield connect(settings)


def need_unchanged(client: MlflowClient, name: str, expected: int | None) -> None:
    """Check that the champion is still the expected one; its lock must be held.

    Raises:
        WorldError: it is not.
    """
    found = champion_of(client, name)
    if found != expected:
        raise WorldError(
            f"{name}: the champion is now {_called(found)}, no longer {_called(expected)}: somebody else "
            "changed it meanwhile. Nothing was changed here.",
            "Look at it with: sentiflow history; then try again.",
        )


def move(client: MlflowClient, name: str, event: Event) -> None:
    """Write the event down, on the version and in the history, then move the alias: the one and last switch.

    The champion's lock must be held (``changing``), and the champion be the one that the event replaces
    (``need_unchanged``). That the event took effect is noted afterwards; who is killed before that leaves it to
    be told by the alias.
    """
    keys = [key for key in client.get_registered_model(name).tags if EVENT_TAG.fullmatch(key)]
    key = f"{_HISTORY}{1 + max((int(key.removeprefix(_HISTORY)) for key in keys), default=0):06d}"
    for tag, value in _version_tags(event).items():
        client.set_model_version_tag(name, str(event.version), tag, value)
    client.set_registered_model_tag(name, key, event.to_json())
    client.set_registered_model_alias(name, CHAMPION, str(event.version))
    client.set_registered_model_tag(name, key, replace(event, done=True).to_json())


def _version_tags(event: Event) -> dict[str, str]:
    """What a version's own page says of how it came to be champion."""
    tags = {
        f"{event.kind}.by": event.by,
        f"{event.kind}.at": event.at,
        f"{event.kind}.reason": event.reason,
    }
    if event.kind == "promotion":
        replaced = "none" if event.replaced is None else str(event.replaced)
        tags |= {"promotion.decision": event.decision, "previous_version": replaced}
    return tags


def now() -> str:
    """The moment, for an event."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _called(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
