"""``sentiflow serve``."""

import logging

from sentiment.names import model_name
from sentiment.settings import load_settings
from tasks.console import CONSOLE
from tasks.serve import serve


def run(host: str | None, port: int | None, dataset: str | None) -> None:
    """Serve the champion; print the address once it answers, and go on until Ctrl-C."""
    settings = load_settings()
    logging.getLogger("serving").setLevel(logging.INFO)  # which version answers from when on
    name = None if dataset is None else model_name(dataset)
    serve(
        settings,
        name,
        settings.serve_host if host is None else host,
        settings.serve_port if port is None else port,
        lambda address: CONSOLE.print(
            f"Sentiflow answers at [bold]{address}[/], its paths at {address}/docs   (Ctrl-C ends it)",
            soft_wrap=True,
        ),
    )
