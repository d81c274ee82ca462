"""The service, tied to the registry of the settings."""

from collections.abc import Callable
from contextlib import suppress

from sentiflow.batch.job import text_log
from sentiflow.errors import WorldError
from sentiflow.scoring import TextScorer
from sentiflow.serving.service import server
from sentiflow.serving.service.middleware import Origins
from sentiflow.serving.service.schemas import Champion, Limits, Source
from sentiflow.settings import Settings
from sentiflow.tracking.types import CHAMPION, Version
from sentiflow.tracking.versions import find_champion, load_scorer


def serve(settings: Settings, name: str | None, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer over HTTP with the champion until the process is told to end.

    Args:
        settings: where the registry is, and the limits.
        name: of the registered model; by default ``imdb-sentiment``, or the only one that there is.
        host: address to listen on.
        port: 0 takes a free one.
        ready: called with the service's address once it answers.

    Raises:
        UsageError: no model was named, and there are several.
        WorldError: the port is taken.
    """
    way = source(settings, name)
    if settings.sqlite_file is not None:
        with suppress(WorldError):  # the service looks again, and tells
            way.find()
    listener = server.open_socket(host, port)
    address = server.address_of(host, listener)
    limits = Limits(
        settings.serve_max_body, settings.serve_max_text, settings.serve_max_texts, settings.serve_queue
    )
    origins = Origins(listener, [host, *settings.serve_hosts])
    server.run(way, settings.serve_poll, limits, origins, listener, lambda: ready(address), text_log(settings))


def source(settings: Settings, name: str | None) -> Source:
    """The way from the service to the registry."""
    file, seen = settings.sqlite_file, False

    def find() -> Champion | None:
        nonlocal seen
        if seen and file is not None and not file.is_file():  # gone, not merely without a champion
            raise WorldError(f"The store {file} is gone.", "Put it back, or start the service anew.")
        found = find_champion(settings, name)
        if found is None:
            return None
        seen = True
        version = found.version
        return Champion(version.name, version.number, found.run_id, found.accuracy)

    def load(champion: Champion) -> TextScorer:
        return load_scorer(settings, Version(champion.name, champion.number, CHAMPION))

    whose = f" --dataset {name.removesuffix('-sentiment')}" if name else ""
    absent = (
        f"No version of {name or 'the model'} is in use yet. "
        f"Put one in use: sentiflow promote{whose} (after sentiflow train, if there is none)."
    )
    return Source(find, load, absent)
