"""Starts the HTTP service on the registry of the settings."""

from collections.abc import Callable
from contextlib import suppress

from sentiflow.errors import ExternalError
from sentiflow.monitoring.text_log import configured_log
from sentiflow.serving.service.app import Components, build
from sentiflow.serving.service.batching import Batcher
from sentiflow.serving.service.champion import Registry, Watcher
from sentiflow.serving.service.middleware import Edge, Metrics, Origins, Uploads
from sentiflow.serving.service.schemas import BodyParser
from sentiflow.serving.service.server import HttpServer, address_of, open_socket
from sentiflow.serving.service.text_log import Keeper
from sentiflow.settings import Settings

_FIRST_CHECK_SECONDS = 2.0  # a local champion is loaded by then; a slow registry must not delay the start


def serve(settings: Settings, name: str | None, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer over HTTP with the champion until SIGINT or SIGTERM; then answer what is under way, and return.

    Args:
        settings: where the registry is, and the limits.
        name: of the registered model; by default ``imdb-sentiment``, or the only one that there is.
        host: address to listen on.
        port: 0 takes a free one.
        ready: called with the service's address once it answers.

    Raises:
        UsageError: no model was named, and there are several.
        ExternalError: the port is taken.
    """
    registry = Registry(settings, name)
    if settings.sqlite_file is not None:
        with suppress(ExternalError):  # the watcher checks again, and logs it
            registry.find()
    listener = open_socket(host, port)
    origins = Origins(listener, [host, *settings.serve_hosts])
    # more texts than fit into the queue would get 429 again and again
    parser = BodyParser(settings.serve_max_text, min(settings.serve_max_texts, settings.serve_queue))
    metrics = Metrics()
    watcher = Watcher(registry, settings.serve_poll, metrics)
    batcher, keeper = Batcher(settings.serve_queue, metrics), Keeper(configured_log(settings), metrics)
    app = build(Components(watcher, batcher, keeper, metrics, Uploads(settings.serve_max_body), parser))
    edge = Edge(app, origins, metrics, lambda: server.should_exit)
    server = HttpServer(edge, lambda: ready(address_of(host, listener)))
    watcher.start()
    batcher.start()
    keeper.start()
    try:
        watcher.checked.wait(_FIRST_CHECK_SECONDS)
        server.run([listener])
    finally:
        watcher.stop()
        batcher.close()
        keeper.close()
