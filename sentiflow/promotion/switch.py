"""Promotion and rollback: evaluate, decide, move the champion's alias, write the history."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mlflow.tracking import MlflowClient

from sentiflow.environment import person
from sentiflow.errors import ExternalError, UsageError
from sentiflow.locks import champion_lock
from sentiflow.names import dataset_of
from sentiflow.notifications import announce
from sentiflow.promotion.candidate import NO_REASON, Candidate, evaluate_candidate, judged_before
from sentiflow.promotion.history import (
    APPROVAL,
    GATE,
    PREFIX,
    REQUIRED,
    TAG,
    WAITS,
    Event,
    asks,
    check_request,
    gate_of,
    history_of,
    previous_champion,
)
from sentiflow.promotion.scores import load
from sentiflow.settings import Notification, Settings
from sentiflow.store.client import connect, tracking_errors
from sentiflow.store.find import champion_of, need_versions, open_store
from sentiflow.store.records import (
    ACCURACY,
    CHAMPION,
    Store,
    VersionRecord,
    compared_with,
    need_number,
    parse_fraction,
)


def promote(
    name: str,
    number: int | None,
    settings: Settings,
    *,
    force: bool = False,
    reason: str = "",
    unattended: bool = False,
    form: Callable[[str, int], str] = lambda _dataset, _version: "",
) -> Candidate:
    """Judge a version, by default ``choose``'s, decide, carry that out.

    Where a person approves promotions, the version waits instead, and a message says so, with the address of the
    ``form`` to answer in.
    """
    check_request(reason, force=force)
    candidate = evaluate_candidate(name, number, settings, force=force, unattended=unattended)
    candidate = decide(candidate, force=force, reason=reason)
    if candidate.promotes and asks(name, settings):
        return _ask(candidate, settings, form(dataset_of(name), candidate.version))
    return carry_out(candidate, settings)


def answer(
    name: str, number: int | None, settings: Settings, *, promote: bool, reason: str = "", by: str = ""
) -> Candidate:
    """Carry out a person's answer to a version that waits; a yes judges it again, against today's champion."""
    check_request(reason)
    if number is None:
        raise UsageError("Which version is meant?", f"See which one waits: sentiflow versions {_of(name)}")
    versions = need_versions(open_store(settings), name)
    waiting = versions[need_number(versions, name, number)]
    tags = waiting.tags
    if WAITS not in tags:
        hint = f"Where approval is required, this asks for it: sentiflow promote {number} {_of(name)}"
        raise UsageError(f"{name} version {number} does not wait for a person's answer.", hint)
    forced = tags[WAITS] == "forced"
    if promote:
        candidate = evaluate_candidate(name, number, settings, force=forced)
        candidate = decide(candidate, force=forced, reason=tags["gate.reason"])
    else:
        candidate = judged_before(name, waiting)
    if candidate.promotes or not promote:
        candidate = replace(candidate, by=tags["gate.by"])
        candidate = candidate.answered(promote=promote, why=reason.strip(), name=by.strip())
    return carry_out(candidate, settings, answers=True)


def decide(candidate: Candidate, *, force: bool = False, reason: str = "") -> Candidate:
    """The candidate with the gate's answer, unless it is overridden by force."""
    if candidate.decision.passed:
        return replace(candidate, answer="passed", reason=reason.strip() or NO_REASON, by=person())
    if force:
        return replace(candidate, answer="forced", reason=reason.strip(), by=person())
    failures = "; ".join(f"{rule.name}: {rule.text}" for rule in candidate.decision.failures)
    return replace(candidate, answer="refused", reason=f"{failures}.", by="the gate")


def _ask(candidate: Candidate, settings: Settings, form: str) -> Candidate:
    """Leave a candidate to a person; others ask for approval from now on, too."""
    name, number = candidate.name, candidate.version
    if settings.promotion_approval:
        require_approval(name, settings)
    waiting = replace(candidate, answer="waits")
    with changing(name, settings) as (client, store):
        _write_answer(client, waiting, gate_of(_need_there(store, name, number).tags, settings))
        client.set_model_version_tag(name, str(number), WAITS, str(candidate.answer))
    text = " ".join(filter(None, [waiting.summary, form and f"Or in Prefect: {form}"]))
    announce(settings, "approval", text, model=name, model_version=str(number), form_url=form)
    return waiting


def carry_out(candidate: Candidate, settings: Settings, *, answers: bool = False) -> Candidate:
    """Write the answer on the candidate's version and, if it promotes, make it champion.

    A person's no goes into the history. One who ``answers`` after another changes nothing; nor does a yes if the
    champion has changed since.
    """
    name, number = candidate.name, candidate.version
    with changing(name, settings) as (client, store):
        found, in_use = _need_there(store, name, number), champion_of(store, name) == number
        if answers and (WAITS not in found.tags or in_use):
            problem = f"{name} version {number} was answered meanwhile."
            raise ExternalError(problem, f"See: sentiflow versions --history {_of(name)}")
        if candidate.answer == "declined":
            _record(client, store, name, replace(_event(candidate), kind="decline", replaced=None))
        if candidate.promotes:
            need_unchanged(store, name, candidate.champion)
            need_files(name, number)
        if candidate.promotes or not in_use:
            _write_answer(client, candidate, gate_of(found.tags, settings))
        if candidate.promotes:
            event = _event(candidate)
            move(client, store, name, event)
            candidate = replace(candidate, event=event)
        if WAITS in found.tags:  # last: until then it can be answered again
            client.delete_model_version_tag(name, str(number), WAITS)
    what: Notification = "refused" if candidate.event is None else "promoted"
    announce(settings, what, candidate.summary, model=name, model_version=str(number))
    return candidate


def _need_there(store: Store, name: str, number: int) -> VersionRecord:
    if (found := store.version(name, number)) is None:
        raise ExternalError(f"{name} version {number} was deleted meanwhile.", "Nothing was changed.")
    return found


def _event(candidate: Candidate) -> Event:
    decision = candidate.decision
    return Event(
        kind="promotion",
        version=candidate.version,
        replaced=candidate.champion,
        run_id=candidate.run_id,
        accuracy=decision.accuracy,
        decision=str(candidate.answer),
        reason=candidate.reason,
        by=candidate.by,
        at=now(),
        rules=tuple(rule.line for rule in decision.rules),
    )


def rollback(name: str, reason: str, settings: Settings) -> Event:
    """Make the version champion again that the champion replaced; a second rollback goes further back."""
    check_request(reason)
    if not reason.strip():
        example = 'For example: sentiflow rollback --reason "wrong on long reviews"'
        raise UsageError("A rollback needs a reason.", example)
    with changing(name, settings) as (client, store):
        versions = need_versions(store, name)
        events, champion = history_of(name, settings)
        if champion is None:
            raise UsageError(f"{name} has no champion to roll back.", f"Make one: sentiflow promote {_of(name)}")
        target = previous_champion(events, champion, versions)
        if target is None:
            raise UsageError(
                f"There is no earlier champion of {name} to return to: version {champion} is the first, or those "
                "before it were deleted.",
                f"See: sentiflow versions --history {_of(name)}",
            )
        need_files(name, target)
        event = Event(
            kind="rollback",
            version=target,
            replaced=champion,
            run_id=versions[target].run_id or "",
            accuracy=parse_fraction(versions[target].tags.get(ACCURACY)),
            decision="rollback",
            reason=reason.strip(),
            by=person(),
            at=now(),
        )
        move(client, store, name, event)
    text = f"{name} version {target} is the champion again, not version {champion}, by {event.by}: {event.reason}"
    announce(settings, "rolled-back", text, model=name, model_version=str(target))
    return event


def delete(name: str, number: int, settings: Settings) -> None:
    """Delete a version that no alias holds; its run and its files in the store stay."""
    with changing(name, settings) as (client, store):
        need_number(need_versions(store, name), name, number)
        model = store.model(name)
        held = sorted(alias for alias, version in (model.aliases if model else {}).items() if version == number)
        if held:
            problem = f"{name} version {number} is held by the alias {', '.join(held)}."
            way_out = "Promote another or roll back" if CHAMPION in held else "Remove the alias in MLflow"
            raise UsageError(problem, f"{way_out} first.")
        client.delete_model_version(name, str(number))


def need_files(name: str, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        load(name, number, Path(folder))


def _write_answer(client: MlflowClient, candidate: Candidate, judged_by: str) -> None:
    tags = {
        "gate.reason": candidate.reason,
        "gate.by": candidate.by,
        "gate.at": now(),
        GATE: judged_by,
        "gate.record": json.dumps(candidate.decision.record(), ensure_ascii=False),
        "gate.outcome": str(candidate.answer),
        "gate.against": compared_with(candidate.champion),  # last: what finds it finds the others
    }
    for key, value in tags.items():
        client.set_model_version_tag(candidate.name, str(candidate.version), key, value)


@contextmanager
def changing(name: str, settings: Settings) -> Iterator[tuple[MlflowClient, Store]]:
    """Connect to the store, to write and to read it, and hold the champion's lock."""
    with champion_lock(name, settings), tracking_errors(settings.tracking_uri):
        yield connect(settings), open_store(settings)


def need_unchanged(store: Store, name: str, expected: int | None) -> None:
    """Check that the champion is still the expected one; its lock must be held."""
    found = champion_of(store, name)
    if found != expected:
        raise ExternalError(
            f"{name}: the champion is now {_called(found)}, no longer {_called(expected)}: somebody else "
            "changed it meanwhile. Nothing was changed here.",
            f"See sentiflow versions --history {_of(name)}, then try again.",
        )


def move(client: MlflowClient, store: Store, name: str, event: Event) -> None:
    """Write the event, move the alias, mark the event as done; the champion's lock is held (``changing``)."""
    key = _record(client, store, name, event)
    client.set_registered_model_alias(name, CHAMPION, str(event.version))
    client.set_registered_model_tag(name, key, replace(event, done=True).to_json())


def require_approval(name: str, settings: Settings) -> None:
    """Let a person decide last about each promotion of a registered model, whoever asks for it."""
    with tracking_errors(settings.tracking_uri):
        client = connect(settings)
        client.set_registered_model_tag(name, APPROVAL, f"{REQUIRED} by {person()} since {now()}")


def _record(client: MlflowClient, store: Store, name: str, event: Event) -> str:
    """Write an event on its version and in the history; gives its tag there."""
    model = store.model(name)
    keys = [key for key in (model.tags if model else {}) if TAG.fullmatch(key)]
    key = f"{PREFIX}{1 + max((int(key.removeprefix(PREFIX)) for key in keys), default=0):06d}"
    tags = {f"{event.kind}.by": event.by, f"{event.kind}.at": event.at, f"{event.kind}.reason": event.reason}
    if event.kind == "promotion":
        replaced = "none" if event.replaced is None else str(event.replaced)
        tags |= {"promotion.decision": event.decision, "previous_version": replaced}
    for tag, value in tags.items():
        client.set_model_version_tag(name, str(event.version), tag, value)
    client.set_registered_model_tag(name, key, event.to_json())
    return key


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _of(name: str) -> str:
    return f"--dataset {dataset_of(name)}"


def _called(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
