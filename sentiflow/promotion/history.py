"""The champion's history: promotions and rollbacks as events.

An event is written before the champion's alias moves, and marked as done afterwards. If the process is killed in
between, the event took effect only if the alias holds its version.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self

from sentiflow.errors import ExternalError, UsageError
from sentiflow.settings import Settings
from sentiflow.store.find import open_store
from sentiflow.store.types import HIDDEN

Kind = Literal["promotion", "rollback"]
MAX_REASON = 2_000  # characters
PREFIX = f"{HIDDEN}history."  # of tags of the registered model, one an event: they outlive each version
TAG = re.compile(rf"{re.escape(PREFIX)}\d{{6}}")


def check_request(reason: str, *, force: bool = False) -> None:
    """Check a request before anything is done.

    Raises:
        UsageError: the reason is too long, or a forced promotion has none.
    """
    if len(reason) > MAX_REASON:
        raise UsageError(f"A reason has at most {MAX_REASON} characters, this one {len(reason)}.", "Shorten it.")
    if force and not reason.strip():
        raise UsageError(
            "--force needs a reason.", 'For example: --force --reason "the champion fails on long reviews"'
        )


@dataclass(frozen=True)
class Event:
    """One promotion or rollback; ``version`` is the new champion.

    Attributes:
        replaced: the champion before it, or None.
        accuracy: of the version on its test split, or None.
        decision: ``passed`` by the gate, ``approved`` by a person, ``forced`` or ``rollback``.
        at: ISO 8601 in UTC.
        rules: the gate's, one line each; empty for a rollback.
        done: the alias has moved.
    """

    kind: Kind
    version: int
    replaced: int | None
    run_id: str
    accuracy: float | None
    decision: str
    reason: str
    by: str
    at: str
    rules: tuple[str, ...] = ()
    done: bool = False

    def to_json(self) -> str:
        """The event as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            fields = json.loads(text)
            return cls(**fields | {"rules": tuple(fields["rules"])})
        except (TypeError, KeyError) as err:
            raise ValueError(f"not an event: {text[:100]}") from err


def history_of(name: str, settings: Settings) -> tuple[list[Event], int | None]:
    """Every promotion and rollback that was begun, oldest first, and today's champion.

    Raises:
        ExternalError: somebody else's tag stands among the events.
    """
    model = open_store(settings).model(name)
    if model is None:
        return [], None
    try:
        events = [Event.from_json(model.tags[key]) for key in sorted(model.tags) if TAG.fullmatch(key)]
    except ValueError as err:
        raise ExternalError(
            f"The history of {name} cannot be read: {err}.",
            "Correct or delete that tag of the registered model in MLflow.",
        ) from err
    return events, model.champion


def took_effect(events: Sequence[Event], champion: int | None) -> list[bool]:
    """Whether each event, oldest first, made its version the champion: it is marked so, or the next one saw it."""
    found = [*(event.replaced for event in events), champion][1:]  # in the alias, after each
    return [event.done or event.version == after for event, after in zip(events, found, strict=True)]


def champion_stack(events: Sequence[Event], champion: int | None) -> list[int]:
    """Stack of champions, oldest first: a promotion pushes one, a rollback pops those above its version.

    A champion that was set by other means is pushed, too. The stack is empty without a champion.
    """
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
