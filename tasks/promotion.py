"""Promotion and rollback: weigh, decide, move the alias."""

import json
from dataclasses import dataclass
from typing import Literal

from sentiment.errors import RefusedError, UsageError, WorldError
from sentiment.promotions import Event, before
from sentiment.settings import Settings
from tasks.champion import changing, events_of, move, need_model, need_version, now
from tasks.mlflow_registry import champion_of
from tasks.person import person
from tasks.versions import CHAMPION
from tasks.weigh import Weighed

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
                'Promote it all the same with: --force --reason "..."',
            )
        return self.event


def check_request(*, force: bool, reason: str) -> None:
    """Refuse a forced promotion without a reason, before anything is weighed.

    Raises:
        UsageError: there is none.
    """
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
        return Verdict("passed", reason.strip() or "the gate passed", person())
    if force:
        return Verdict("forced", reason.strip(), person())
    return Verdict("refused", "; ".join(rule.told for rule in weighed.decision.failures) + ".", "the gate")


def carry_out(weighed: Weighed, verdict: Verdict, settings: Settings) -> Outcome:
    """Write the outcome on the candidate's version and, unless it is a no, make it champion.

    Raises:
        WorldError: as ``switch``.
    """
    _write_outcome(weighed, verdict, settings)
    return Outcome(weighed, verdict, switch(weighed, verdict, settings) if verdict.promotes else None)


def switch(weighed: Weighed, verdict: Verdict, settings: Settings) -> Event:
    """Make the candidate the champion.

    Written: who, when, why and what it replaces on the version, the event in the model's history, the alias last.

    Raises:
        WorldError: the champion is no longer the one that was weighed against, or the candidate is gone.
    """
    with changing(weighed.name, settings) as client:
        if weighed.version not in need_model(client, weighed.name):
            raise WorldError(
                f"{weighed.name} version {weighed.version} was deleted meanwhile.", "Nothing was changed."
            )
        event = Event(
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
        move(client, weighed.name, event)
    return event


def rollback(name: str, reason: str, settings: Settings) -> Event:
    """Make the version champion again that the champion replaced; again goes further back.

    Written: as ``switch``.

    Raises:
        UsageError: no reason, no champion, or nothing before it.
        WorldError: the store fails, or the version's files are gone.
    """
    if not reason.strip():
        raise UsageError(
            "A rollback needs a reason.", 'For example: sentiflow rollback --reason "wrong on long reviews"'
        )
    with changing(name, settings) as client:
        versions = need_model(client, name)
        champion = champion_of(client, name)
        if champion is None:
            raise UsageError(f"{name} has no champion to take back.", "Make one: sentiflow promote")
        target = before(events_of(client, name), champion, versions)
        if target is None:
            raise UsageError(
                f"{name} version {champion} replaced no version that is still there.", "See: sentiflow history"
            )
        _need_files(name, target)
        accuracy = versions[target].tags.get("test.accuracy")
        event = Event(
            kind="rollback",
            version=target,
            replaced=champion,
            run_id=str(versions[target].run_id),
            accuracy=None if accuracy is None else float(accuracy),
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


def _write_outcome(weighed: Weighed, verdict: Verdict, settings: Settings) -> None:
    tags = {
        "gate.outcome": verdict.answer,
        "gate.against": "no champion" if weighed.champion is None else f"version {weighed.champion}",
        "gate.reason": verdict.reason,
        "gate.by": verdict.by,
        "gate.at": now(),
        "gate.record": json.dumps(weighed.decision.record(), ensure_ascii=False),
    }
    with changing(weighed.name, settings) as client:
        for key, value in tags.items():
            client.set_model_version_tag(weighed.name, str(weighed.version), key, value)


def _need_files(name: str, number: int) -> None:
    """Load a version once: a champion without its files would be worse than a bad one."""
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    try:
        mlflow.pyfunc.load_model(f"models:/{name}/{number}")
    except (MlflowException, OSError, ValueError, KeyError, ImportError) as err:
        raise WorldError(
            f"Cannot load {name} version {number}: {err}.", "Its files are gone; nothing was changed."
        ) from err
