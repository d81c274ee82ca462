"""The champion of a registered model: read, moved, and its history."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from sentiflow.errors import UsageError, WorldError
from sentiflow.evaluation.promotions import Event
from sentiflow.locks import champion_lock
from sentiflow.names import model_name
from sentiflow.settings import Settings
from sentiflow.tracking.client import connect, tracking_errors
from sentiflow.tracking.mlflow_registry import champion_of, versions_of
from sentiflow.tracking.types import CHAMPION, NO_MODEL, choose_name, need_number
from sentiflow.tracking.versions import registry_of

_HISTORY = "history."  # tags of the registered model: they outlive each version
_EVENT = re.compile(r"history\.\d{6}")


def model_named(settings: Settings, dataset: str | None) -> str:
    """The registered model of a dataset, by default ``imdb-sentiment`` or the only one that there is.

    Raises:
        UsageError: there is no such model.
        WorldError: the store does not answer.
    """
    registry = registry_of(settings)
    if registry is None:
        raise UsageError(*NO_MODEL)
    return choose_name(registry.names(), None if dataset is None else model_name(dataset))


def events_of(client: MlflowClient, name: str) -> list[Event]:
    """Every promotion and rollback that was begun, oldest first.

    Raises:
        WorldError: somebody else's tag stands among them.
    """
    tags = client.get_registered_model(name).tags
    try:
        return [Event.from_json(tags[key]) for key in sorted(tags) if _EVENT.fullmatch(key)]
    except ValueError as err:
        raise WorldError(
            f"The history of {name} cannot be read: {err}.", "Correct the tags of the model."
        ) from err


def history_of(name: str, settings: Settings) -> tuple[list[Event], int | None]:
    """Every promotion and rollback, oldest first, and today's champion.

    Raises:
        WorldError: the store does not answer.
    """
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        return events_of(client, name), champion_of(client, name)


def need_model(client: MlflowClient, name: str) -> dict[int, ModelVersion]:
    """The versions of a registered model.

    Raises:
        UsageError: it has none, or does not exist.
    """
    versions = versions_of(client, name)
    if not versions:
        raise UsageError(f"No version is registered as {name}.", "Train one first: sentiflow train")
    return versions


def need_version(versions: dict[int, ModelVersion], name: str, number: int) -> ModelVersion:
    """One of the versions.

    Raises:
        UsageError: it is not there.
    """
    return versions[need_number(list(versions), name, number)]


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
    keys = [key for key in client.get_registered_model(name).tags if _EVENT.fullmatch(key)]
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
