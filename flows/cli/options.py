"""Options that several commands share."""

from typing import Annotated

import typer

RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="Recipe: a name, or a TOML file of your own.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a field of the recipe.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
DatasetOption = Annotated[
    str, typer.Option("--dataset", "-d", help="imdb, sample, or a .csv or .parquet table (text, label).")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show every log line, and tracebacks.")]
WhoseOption = Annotated[
    str | None,
    typer.Option("--dataset", "-d", help="Whose model: imdb, sample, or your table's name."),
]
VersionOption = Annotated[
    int | None,
    typer.Option("--model-version", min=1, help="Version of the model; by default the champion, else the newest."),
]
PromoteOption = Annotated[
    bool, typer.Option("--promote", help="Promote the version afterwards if all checks pass.")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def examples(*commands: str) -> str:
    """Commands to show below a command's options."""
    return "\n\n    ".join(("Examples:", *commands))
