"""``sentiflow housekeeping``."""

from sentiflow.console import CONSOLE, Console, escape
from sentiflow.settings import load_settings


def run() -> None:
    """Clean up once, now; each thing that was done is a line."""
    settings = load_settings()
    from sentiflow.orchestration.server import start_early

    wait_for_server, where = start_early(settings)
    CONSOLE.print(f"Prefect: {where}; starting up ...", soft_wrap=True)
    from sentiflow.tracking.client import connect

    connect(settings)
    from flows.housekeeping import housekeeping

    wait_for_server()
    care = housekeeping()
    console = Console()
    for line in care.lines():
        console.print(escape(line), soft_wrap=True)
