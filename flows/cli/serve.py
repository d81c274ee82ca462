"""``sentiflow serve``."""

import logging

from sentiflow.console import CONSOLE
from sentiflow.names import model_name
from sentiflow.serving.serve import serve
from sentiflow.settings import load_settings


def run(host: str | None, port: int | None, dataset: str | None) -> None:
    """Serve the champion; print the address once it answers, and go on until Ctrl-C."""
    settings = load_settings()
    logging.getLogger("sentiflow.serving").setLevel(logging.INFO)  # which version answers from when on
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
