"""``sentiflow housekeeping``."""

from sentiment.settings import load_settings
from tasks.console import CONSOLE
from tasks.terminal import Console, escape


def run() -> None:
    """Clean up once, now; each thing that was done is a line."""
    settings = load_settings()
    from tasks.prefect_server import start_early

    wait_for_server, where = start_early(settings)
    CONSOLE.print(f"Prefect: {where}; starting up ...", soft_wrap=True)
    from tasks.tracking import connect

    connect(settings)
    from flows.housekeeping import housekeeping

    wait_for_server()
    care = housekeeping()
    console = Console()
    for line in care.lines():
        console.print(escape(line), soft_wrap=True)
