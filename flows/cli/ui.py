"""``sentiflow ui``."""

import os
import socket
import time
import urllib.error
import urllib.request
from urllib.parse import urlparse

from sentiflow.children import Child
from sentiflow.console import CONSOLE
from sentiflow.errors import WorldError
from sentiflow.output import without_login
from sentiflow.settings import Settings, load_settings
from sentiflow.tracking.client import connect

_START_SECONDS = 90


def run(port: int | None) -> None:
    """Start the MLflow UI over the store of the settings, print its address once it answers, and wait."""
    settings = load_settings()
    if settings.tracking_uri.startswith("http"):
        CONSOLE.print(f"The store is a server: open {without_login(settings.tracking_uri)}", soft_wrap=True)
        return
    address = urlparse(settings.ui_url)
    host, port = address.hostname or "127.0.0.1", port or address.port or 5000
    _need_free(host, port)
    connect(settings)
    CONSOLE.print("Starting the MLflow UI ...")
    server = Child(_command(settings, host, port), _environment())
    try:
        _wait(server, f"http://{host}:{port}")
        CONSOLE.print(f"MLflow UI: [bold]http://{host}:{port}[/]   (Ctrl-C ends it)", soft_wrap=True)
        code = server.wait()
    except KeyboardInterrupt:
        code = 0
    finally:
        server.stop()
    if code:
        raise WorldError(f"The MLflow UI ended with exit code {code}.")


def _command(settings: Settings, host: str, port: int) -> list[str]:
    return [
        *("mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),
        *("--backend-store-uri", settings.tracking_uri, "--default-artifact-root", str(settings.artifacts)),
    ]


def _environment() -> dict[str, str]:
    # Running jobs for whoever reaches the page is on by default in MLflow's server; a page needs none.
    return {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore", **os.environ}


def _need_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as err:
            raise WorldError(
                f"Port {port} on {host} is taken: {err.strerror}.",
                f"Choose another: sentiflow ui --port {port + 1}",
            ) from err


def _wait(server: Child, address: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if server.exit_code is not None:
            raise WorldError(f"The MLflow UI did not start (exit code {server.exit_code}).")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise WorldError(f"The MLflow UI did not answer within {_START_SECONDS} s.")
