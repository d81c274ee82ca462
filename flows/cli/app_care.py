"""The commands that look after what runs unattended."""

import typer

from flows.cli import console
from flows.cli.options import DebugOption, WhoseOption


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_HOUSEKEEPING)(housekeeping)
    app.command(epilog=_MONITOR)(monitor)


_MONITOR = """Examples:

    sentiflow monitor

    sentiflow monitor --dataset sample"""


def monitor(dataset: WhoseOption = None, debug: DebugOption = False) -> None:
    """Compare the texts scored and served since the last look with the reviews that the model learned from."""
    console.set_up(debug=debug)
    from flows.cli import monitor as command

    command.run(dataset)


_HOUSEKEEPING = """Examples:

    sentiflow housekeeping

    SENTIFLOW_KEEP_RUNS_DAYS=90 sentiflow housekeeping"""


def housekeeping(debug: DebugOption = False) -> None:
    """Close runs whose process was killed, and remove old files and runs."""
    console.set_up(debug=debug)
    from flows.cli import housekeeping as command

    command.run()
