"""The champion's history: promotions and rollbacks as events, and what they say of today.

An event is written down before the champion's alias moves, and noted as done afterwards: a process that is killed
in between leaves an event that took effect only if its version is found in the alias.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self

Kind = Literal["promotion", "rollback"]


@dataclass(frozen=True)
class Event:
    """One promotion or rollback.

    Attributes:
        kind: of the event.
        version: the champion that it makes.
        replaced: the champion that it finds; None when there was none.
        run_id: of the version's training.
        accuracy: of the version on its test split; None when it is not known.
        decision: the gate's ``passed``, a person's ``approved``, ``forced`` past the gate, or ``rollback``.
        reason: in words.
        by: who.
        at: when, ISO 8601 in UTC.
        rules: what the gate said, a line a rule; empty for a rollback.
        done: noted after the alias had moved.
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
            raise ValueError(f"no event: {text[:100]}") from err


def took_effect(events: Sequence[Event], champion: int | None) -> list[bool]:
    """Whether each event made its version the champion: noted, or seen in the alias when the next was written.

    Args:
        events: all, oldest first.
        champion: today's.
    """
    found = [*(event.replaced for event in events), champion][1:]  # in the alias, after each
    return [event.done or event.version == after for event, after in zip(events, found, strict=True)]


def line(events: Sequence[Event], champion: int | None) -> list[int]:
    """Champions that stand behind each other today: a promotion adds one, a rollback takes those above it off.

    A champion that was set by other means takes its place in the line, too.

    Args:
        events: all, oldest first.
        champion: today's.

    Returns:
        Versions, the first champion first, today's last; empty without a champion.
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


def before(events: Sequence[Event], champion: int, living: Collection[int]) -> int | None:
    """The version that a rollback leads to: the nearest in the line that was not deleted; None where it begins."""
    behind = [version for version in line(events, champion)[:-1] if version in living and version != champion]
    return behind[-1] if behind else None


def _add(stack: list[int], version: int | None) -> None:
    if version is not None and (not stack or stack[-1] != version):
        stack.append(version)
