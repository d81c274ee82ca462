"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sentiflow.data.table import TableOptions

RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="Recipe: a name, or a TOML file of your own.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a field of the recipe.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
DatasetOption = Annotated[
    str, typer.Option("--dataset", "-d", help="imdb, sample, or a .csv, .jsonl or .parquet table.")
]
TextColumnOption = Annotated[
    str, typer.Option("--text-column", metavar="NAME", help="The column of texts in your table.")
]
LabelColumnOption = Annotated[
    str, typer.Option("--label-column", metavar="NAME", help="The column of labels in your table.")
]
LabelsOption = Annotated[
    str,
    typer.Option("--labels", metavar="NAME=0|1,...", help="What the labels of your table mean: good=1,bad=0"),
]
MaxRejectsOption = Annotated[
    str, typer.Option("--max-rejects", metavar="N|N%", help="How many rows of your table may be rejected.")
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


def table_options(text_column: str, label_column: str, labels: str, max_rejects: str) -> "TableOptions":
    """The options of a user's table.

    Raises:
        UsageError: ``labels`` or ``max_rejects`` is malformed.
    """
    from pydantic import ValidationError

    from sentiflow.data.table import TableOptions
    from sentiflow.errors import UsageError

    pairs = (part.rpartition("=") for part in labels.split(",") if part.strip())
    meaning = {name.strip(): {"0": 0, "1": 1}.get(value.strip(), value) for name, _, value in pairs}
    try:
        return TableOptions(
            text_column=text_column, label_column=label_column, labels=meaning, max_rejects=max_rejects.strip()
        )
    except ValidationError as err:
        option = "--" + str(err.errors()[0]["loc"][0]).replace("_", "-")
        raise UsageError(f"{option} cannot be read.", _FORMS.get(option, "Give the name of a column.")) from err


def table_arguments(table: "TableOptions") -> list[str]:
    """The options of a command that read a table in this way; those that are as usual are left out."""
    given = table.model_dump(exclude_defaults=True)
    if table.labels:
        given["labels"] = ",".join(f"{name}={value}" for name, value in table.labels.items())
    return [each for name, value in given.items() for each in (f"--{name.replace('_', '-')}", str(value))]


_FORMS = {
    "--labels": "Give each label a meaning, 0 or 1, and each of these a label: --labels good=1,bad=0",
    "--max-rejects": "Give a number or a percentage: --max-rejects 20 or --max-rejects 0.5%",
}


def examples(*commands: str) -> str:
    """Commands to show below a command's options."""
    return "\n\n    ".join(("Examples:", *commands))
