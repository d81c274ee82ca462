"""The commands that use a registered model."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console
from flows.cli.options import DebugOption, VersionOption, WhoseOption


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_PREDICT)(predict)
    app.command(epilog=_EXPLAIN)(explain)
    app.command(epilog=_SCORE)(score)
    app.command(epilog=_SERVE)(serve)


_PREDICT = """Examples:

    sentiflow predict "A quiet film that stays with you."

    sentiflow predict --version 2 "Two hours I will never get back." "Loved it."

    sentiflow predict --dataset sample "Dull from start to end." """


def predict(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="One or more texts.")],
    version: VersionOption = None,
    dataset: WhoseOption = None,
    debug: DebugOption = False,
) -> None:
    """Say whether texts are positive or negative."""
    console.set_up(debug=debug)
    from flows.cli import predict as command

    command.run(texts, version, dataset)


_EXPLAIN = """Examples:

    sentiflow explain "It began well, but the ending was a mess."

    sentiflow explain --html reading.html "It began well, but the ending was a mess." """


def explain(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to read.")],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page of it, too.")] = None,
    version: VersionOption = None,
    dataset: WhoseOption = None,
    debug: DebugOption = False,
) -> None:
    """Show the score after each word, as the network reads, and which words moved it."""
    console.set_up(debug=debug)
    from flows.cli import explain as command

    command.run(text, html, version, dataset)


_SCORE = """Examples:

    sentiflow score reviews.csv -o scores.parquet

    sentiflow score reviews.jsonl -o scores.parquet --column body --keep id

    sentiflow score folder-of-txt -o scores.parquet --version 3"""


def score(
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="A .csv, .jsonl or .parquet table, or a folder of .txt files."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")],
    column: Annotated[str, typer.Option("--column", "-c", help="The table's column of texts.")] = "text",
    keep: Annotated[
        list[str] | None, typer.Option("--keep", "-k", metavar="COLUMN", help="A column to copy to the output.")
    ] = None,
    version: VersionOption = None,
    dataset: WhoseOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that score; by default one a core.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew instead of going on where a killed run was.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Score a table or a folder of texts; what cannot be scored goes to a file of rejects."""
    console.set_up(debug=debug)
    from flows.cli import score as command

    command.run(source, output, column, keep or [], version, dataset, workers, restart=restart)


_SERVE = """Examples:

    sentiflow serve

    sentiflow serve --port 8080 --dataset sample"""


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; by default the one in SENTIFLOW_SERVE_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port; 0 takes a free one; by default SENTIFLOW_SERVE_PORT."),
    ] = None,
    dataset: WhoseOption = None,
    debug: DebugOption = False,
) -> None:
    """Answer over HTTP with the champion, and follow it when it changes; Ctrl-C ends it."""
    console.set_up(debug=debug)
    from flows.cli import serve as command

    command.run(host, port, dataset)
