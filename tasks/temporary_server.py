"""Prefect's temporary server, started before it is needed."""

import threading
from collections.abc import Callable

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings


def start_early() -> tuple[Callable[[], None], str]:
    """Start the temporary server in the background, unless a running one is set.

    Its process needs some eight seconds of its own, about as long as this one's imports. Prefect asks for the
    same server when the flow begins, so it must be up by then.

    Returns:
        A function to call before the flow (it waits, and raises what the start raised), and which server it is.
    """
    if url := get_current_settings().api.url:
        return lambda: None, f"the server at {url}"
    failures: list[Exception] = []

    def start() -> None:
        try:
            SubprocessASGIServer().start()
        except Exception as err:  # noqa: BLE001 - raised where it is waited for
            failures.append(err)

    # A daemon: a command that fails meanwhile need not wait for it. Prefect stops the server at exit.
    thread = threading.Thread(target=start, daemon=True)
    thread.start()

    def wait() -> None:
        thread.join()
        if failures:
            raise failures[0]

    return wait, "a temporary server"
