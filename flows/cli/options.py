"""How commands are registered, and options that several of them share."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from flows.cli import output
from sentiflow.environment import expanded
from sentiflow.errors import UsageError

if TYPE_CHECKING:
    from sentiflow.data.table import TableOptions

RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe", "-r", help="Recipe: a name, or a TOML file; by default ngrams, for a table of yours fitted."
    ),
]
StartOption = Annotated[
    str,
    typer.Option(
        "--start-from",
        metavar="NAME",
        help="Start from a trained network: auto, none, base, or a version such as reviews-sentiment@champion.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a field of the recipe: epochs=3; repeatable."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset", "-d", help="imdb, sample, a table (.csv, .xlsx, .json, ...), a folder, or hf://OWNER/NAME."
    ),
]
TextColumnOption = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="Column of texts in your table, or several: title,body"),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option("--label-column", metavar="NAME", help="Column of labels; a training takes label by default."),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="NAME=0|1|skip,...",
        help="What your labels mean: good=1,bad=0,so-so=skip; with between such rows teach neutral.",
    ),
]
SheetOption = Annotated[
    str | None, typer.Option("--sheet", metavar="NAME", help="Sheet of an Excel file; by default the first.")
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="hash|time", help="Which fifth tests: drawn by its texts' hash, or the newest."
    ),
]
DateColumnOption = Annotated[
    str | None,
    typer.Option(
        "--date-column", metavar="NAME", help="Column of dates, for --split time; by default the only one."
    ),
]
MaxRejectsOption = Annotated[
    str | None,
    typer.Option("--max-rejects", metavar="N|N%", help="Rows of your table that may be rejected; by default 1%."),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", "-k", metavar="COLUMN", help="Columns to copy to the output: a,b; repeatable."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show all log lines and tracebacks.")]
WhoseOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        help="The model's dataset: imdb, sample, or your table's name. By default imdb, or the only one.",
    ),
]
AnsweringOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        help="The model's dataset: imdb, sample, or your table's name; by default imdb, or the only one. base "
        "answers before anything was trained.",
    ),
]
VersionOption = Annotated[
    int | None,
    typer.Option("--model-version", min=1, help="Version of the model; by default the champion, else the best."),
]
PromoteOption = Annotated[bool, typer.Option("--promote", help="Then promote the version if all checks pass.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")]
NeutralOption = Annotated[
    bool,
    typer.Option(
        "--with-neutral", help="Call unsure texts neutral, as a table with --labels X=between taught it."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

GROUPS = TRAIN, INSPECT, PROMOTE, USE, OPERATE = "Train", "Inspect", "Promote", "Use", "Operate"
"""The groups of ``sentiflow --help``."""


def path(text: str) -> Path:
    """A path of the command line; an empty one, such as of a variable that is not set, would be this folder."""
    if not text.strip():
        raise UsageError("A path is empty.", "Is the variable set that should hold it?")
    return expanded(text)


def file_option(*names: str, help: str) -> Any:
    return typer.Option(*names, parser=path, metavar="FILE", help=help)


Function = TypeVar("Function", bound=Callable[..., None])


def command(
    app: typer.Typer, group: str, *examples: str, name: str | None = None, note: str = ""
) -> Callable[[Function], Function]:
    """Register a function as a command, which has ``--debug``, too.

    A parameter ``table`` stands for the options of a user's table; the function is given its ``TableOptions``.
    Below the options stand the note, which is Markdown, and the examples.
    """
    shown = "\n\n".join(filter(None, (note, "Examples:", *(f"- `{example}`" for example in examples))))
    register = app.command(name, rich_help_panel=group, epilog=shown)

    def decorate(function: Function) -> Function:
        own = signature(function).parameters
        options = [one for each in own.values() for one in (_TABLE if each.name == "table" else [each])]
        parameters = [*options, _DEBUG]

        @wraps(function)
        def run(*, debug: bool, **given: Any) -> None:
            output.set_up(debug=debug)
            if "table" in own:
                given["table"] = table_options(**{each.name: given.pop(each.name) for each in _TABLE})
            function(**given)

        vars(run)["__signature__"] = Signature(parameters)
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        register(run)
        return function

    return decorate


def _option(name: str, default: Any, kind: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


_DEBUG = _option("debug", False, DebugOption)
_TABLE = [
    _option("text_column", None, TextColumnOption),
    _option("label_column", None, LabelColumnOption),
    _option("labels", None, LabelsOption),
    _option("sheet", None, SheetOption),
    _option("split", None, SplitOption),
    _option("date_column", None, DateColumnOption),
    _option("max_rejects", None, MaxRejectsOption),
]


def table_options(
    labels: str | None = None, max_rejects: str | None = None, **others: str | None
) -> "TableOptions":
    """The options of a user's table; those that were not given are as usual."""
    from sentiflow.data.table import as_options

    given: dict[str, Any] = {**others, "max_rejects": max_rejects and max_rejects.strip()}
    if labels is not None:
        parts = (part if "=" in part else f"{part}=" for part in labels.split(",") if part.strip())
        pairs = (part.rpartition("=") for part in parts)
        known = {"0": 0, "1": 1}
        given["labels"] = {name.strip(): known.get(value.strip(), value.strip()) for name, _, value in pairs}
    return as_options({name: value for name, value in given.items() if value is not None})


def table_arguments(table: "TableOptions") -> list[str]:
    """The options of a command that read a table in this way; those that are as usual are left out."""
    given = table.model_dump(exclude_defaults=True)
    if table.labels:
        given["labels"] = ",".join(f"{name}={value}" for name, value in table.labels.items())
    return [each for name, value in given.items() for each in (f"--{name.replace('_', '-')}", str(value))]
