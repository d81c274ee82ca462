"""``sentiflow runs``."""

from rich.console import Console
from rich.table import Table

from flows.cli.tables import print_table
from sentiment.settings import load_settings, shown
from tasks.registry import RunRow, latest_runs
from tasks.tracking import connect


def run(most: int) -> None:
    """Print the latest runs, newest first."""
    settings = load_settings()
    missing = settings.sqlite_file is not None and not settings.sqlite_file.exists()  # listing makes no store
    rows = [] if missing else latest_runs(connect(settings), settings, most)
    console = Console(highlight=False)
    if not rows:
        console.print(f"No runs yet in {shown(settings.tracking_uri)}. Make one: sentiflow train", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for heading, justify in (
        ("when", "left"), ("recipe", "left"), ("dataset", "left"), ("seed", "right"),
        ("test accuracy (95% interval)", "left"), ("seconds", "right"), ("version", "left"),
    ):  # fmt: skip
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*_cells(row))
    print_table(table, console)


def _cells(row: RunRow) -> tuple[str, ...]:
    accuracy = "-"
    if row.accuracy is not None and row.accuracy_low is not None and row.accuracy_high is not None:
        accuracy = f"{row.accuracy:.2%} ({row.accuracy_low:.2%} to {row.accuracy_high:.2%})"
    elif row.accuracy_mean is not None and row.accuracy_sd is not None:
        accuracy = f"{row.accuracy_mean:.2%} on average, sd {100 * row.accuracy_sd:.2f} points"
    return (
        f"{row.started.astimezone():%Y-%m-%d %H:%M}",
        row.recipe,
        row.dataset,
        row.seed,
        accuracy,
        "-" if row.seconds is None else f"{row.seconds:.0f}",
        row.version or ("-" if row.status == "FINISHED" else row.status.lower()),
    )
