"""How commands are registered, and options that several of them share."""

import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from flows.cli import console
from sentiflow.console import Console
from sentiflow.errors import UsageError, plain_reason
from sentiflow.folder import typed
from sentiflow.output import is_unicode

if TYPE_CHECKING:
    from sentiflow.data.table import TableOptions

RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe", "-r", help="Recipe: a name, or a TOML file; by default tuned, for a table of yours fitted."
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
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a field of the recipe; repeatable."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
DatasetOption = Annotated[
    str,
    typer.Option("--dataset", "-d", help="imdb, sample, a .csv, .jsonl or .parquet table, or a folder of them."),
]
TextColumnOption = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="Column of texts in your table; by default text."),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option("--label-column", metavar="NAME", help="Column of labels in your table; by default label."),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="NAME=0|1|skip,...",
        help="What the labels of your table mean, or skip to leave their rows out: good=1,bad=0,so-so=skip",
    ),
]
MaxRejectsOption = Annotated[
    str | None,
    typer.Option("--max-rejects", metavar="N|N%", help="Rows of your table that may be rejected; by default 1%."),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", "-k", metavar="COLUMN", help="A column to copy to the output; repeatable."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show all log lines and tracebacks.")]
WhoseOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Whose model: imdb, sample, or your table's name. By default imdb, or the only one.",
    ),
]
AnsweringOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Whose model: imdb, sample, or your table's name; by default imdb, or the only one. base answers "
        "before anything was trained.",
    ),
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

GROUPS = TRAIN, INSPECT, PROMOTE, USE, OPERATE = "Train", "Inspect", "Promote", "Use", "Operate"
"""The groups of ``sentiflow --help``."""


def _path(text: str) -> Path:
    """A path of the command line; an empty one, such as of a variable that is not set, would be this folder."""
    if not text.strip():
        raise UsageError("A path is empty.", "Is the variable set that should hold it?")
    return typed(text)


_TYPES = {"str": "TEXT", "int": "INTEGER", "float": "FLOAT", "Path": "PATH", "bool": ""}


_WIDE = 1_000_000_000  # a range up to more than this says nothing


def _with_types(params: Any) -> Any:
    for param in params:
        if isinstance(param, TyperArgument):
            usage = [param.metavar or ""]
            vars(param).update(display_type=lambda _ctx: "", get_usage_pieces=lambda _ctx, usage=usage: usage)
        elif isinstance(param, TyperOption) and param.metavar is None:
            param.metavar = _TYPES[re.sub(r"list\[(.*)\]", r"\1", param.bare_type())]
            if (param.max or 0) > _WIDE:
                vars(param).update(_get_number_range_help_str=lambda: None)
    return params


_WORDS = {
    r"Invalid value for ": "",
    r"'(-\S+)'": r"\1",
    r"'\[(\w+)\]'": r"\1",
    r"Option (\S+) requires an argument": r"\1 needs a value",
    r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)": r"Unexpected: \1",
}
"""What is plainer than the command line library's own words."""


class Group(TyperGroup):
    """All commands; its own help has the same types, and wrong use is reported as every other error."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command.

        Raises:
            UsageError: the command line is wrong.
        """
        try:
            code = super().main(*args, **options | {"standalone_mode": False})
        except typer.TyperException as err:
            context = getattr(err, "ctx", None)
            if context is None:
                raise
            if not err.format_message():  # without a command, the help was printed
                sys.exit(UsageError.exit_code)
            message = plain_reason(err.format_message(), _WORDS)
            usage = " ".join(context.command.collect_usage_pieces(context))
            path = context.command_path
            hint = f"Usage: {path} {usage}\nAll options: {path} --help"
            raise UsageError(message if message.endswith("?") else f"{message.rstrip('.')}.", hint) from None
        sys.exit(code)

    def get_params(self, ctx: Any) -> Any:
        """The parameters, with the names of their types."""
        return _with_types(super().get_params(ctx))


class Command(TyperCommand):
    """A command whose help has types like ``TEXT``, and which says what to type in place of an unknown option."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, with the names of their types; flags and arguments show none."""
        return _with_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the command line.

        Raises:
            UsageError: there is no such option; the hint has the nearest one, or how to set a recipe field.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as err:
            if not hasattr(err, "possibilities"):  # it is about something else
                vars(err)["ctx"] = ctx
                raise
            option = str(getattr(err, "option_name", ""))
            raise UsageError(f"No such option: {option}.", self._instead_of(option, given)) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help; examples are not folded, so that they can be copied from any terminal."""
        whole = self.epilog
        examples, _, self.epilog = str(whole).partition("\n\n")
        super().format_help(ctx, formatter)
        Console().print(examples, markup=False, soft_wrap=True)
        self.epilog = whole

    def _instead_of(self, option: str, given: Sequence[str]) -> str:
        from sentiflow.recipes import nearest_field

        known = [name for param in self.params for name in (*param.opts, *param.secondary_opts)]
        field = nearest_field(name := option.lstrip("-").replace("-", "_")) if "--set" in known else None
        # Without the dashes, which would make all of them alike.
        long = [name.removeprefix("--") for name in known if name.startswith("--")]
        close = difflib.get_close_matches(option.lstrip("-"), long, n=1)
        if field and (field == name or not close):
            return f"Set a recipe field with: --set {field}={_value_of(option, given)}"
        if close:
            return f"Did you mean --{close[0]}?"
        dash = "A text that begins with a dash goes behind --. " if self.name == "predict" else ""
        return f"{dash}All options: sentiflow {self.name} --help"


def _value_of(option: str, given: Sequence[str]) -> str:
    """What the command line gives for an option, else a placeholder."""
    for word, following in pairwise([*given, ""]):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and following and not following.startswith("-"):
            return following
    return "VALUE"


Function = TypeVar("Function", bound=Callable[..., None])


def command(
    app: typer.Typer, group: str, *examples: str, name: str | None = None, note: str = ""
) -> Callable[[Function], Function]:
    """Register a function as a command, which has ``--debug``, too.

    A parameter ``table`` stands for the options of a user's table; the function is given its ``TableOptions``.
    Below the options stand the note, which is Markdown, and the examples.
    """
    shown = "\n".join((" Examples:", *(f"   {example}" for example in examples)))
    register = app.command(name, cls=Command, rich_help_panel=group, epilog=f"{shown}\n\n{note}".rstrip())

    def decorate(function: Function) -> Function:
        own = signature(function).parameters
        options = {name: each for name, each in own.items() if name != "debug"} | {"debug": _DEBUG}
        for kind in (get_args(each.annotation) for each in options.values()):
            if kind and Path in (kind[0], *get_args(kind[0])):
                kind[1].parser = _path
        parameters = [one for each in options.values() for one in (_TABLE if each.name == "table" else [each])]

        @wraps(function)
        def run(*, debug: bool, **given: Any) -> None:
            console.set_up(debug=debug)
            _check_unicode(function.__name__, given)
            if group == TRAIN and not debug:
                console.filter_native_lines()
            if "table" in own:
                given["table"] = table_options(*(given.pop(each.name) for each in _TABLE))
            function(**given, **({"debug": debug} if "debug" in own else {}))

        vars(run)["__signature__"] = Signature(parameters)
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        register(run)
        return function

    return decorate


_MAY_BE_BYTES = {("predict", "texts"), ("score", "source"), ("score", "output"), ("data", "dataset")}


def _check_unicode(command: str, given: Mapping[str, Any]) -> None:
    """Refuse what is not UTF-8, as stores and messages cannot hold it."""
    for name, value in given.items():
        if (command, name) in _MAY_BE_BYTES:
            continue
        for text in map(str, value if isinstance(value, list) else [value]):
            if not is_unicode(text):
                hint = "Write it in UTF-8; if it names a file, rename the file."
                raise UsageError(f"{text!r} is not UTF-8.", hint)


def _option(name: str, default: Any, kind: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


_DEBUG = _option("debug", False, DebugOption)
_TABLE = [
    _option("text_column", None, TextColumnOption),
    _option("label_column", None, LabelColumnOption),
    _option("labels", None, LabelsOption),
    _option("max_rejects", None, MaxRejectsOption),
]


def table_options(
    text_column: str | None, label_column: str | None, labels: str | None, max_rejects: str | None
) -> "TableOptions":
    """The options of a user's table; those that were not given are as usual.

    Raises:
        UsageError: ``labels`` or ``max_rejects`` is malformed.
    """
    from pydantic import ValidationError

    from sentiflow.data.table import TableOptions

    given: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
    given["max_rejects"] = max_rejects and max_rejects.strip()
    if labels is not None:
        pairs = (part.rpartition("=") for part in labels.split(",") if part.strip())
        known = {"0": 0, "1": 1, "skip": "skip"}
        given["labels"] = {name.strip(): known.get(value.strip(), value) for name, _, value in pairs}
    try:
        return TableOptions(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as err:
        name = str(err.errors()[0]["loc"][0])
        option = "--" + name.replace("_", "-")
        typed = labels if name == "labels" else given[name]
        raise UsageError(
            f"{option} {typed!r} cannot be read.", _FORMS.get(option, "Give the name of a column.")
        ) from err


def table_arguments(table: "TableOptions") -> list[str]:
    """The options of a command that read a table in this way; those that are as usual are left out."""
    given = table.model_dump(exclude_defaults=True)
    if table.labels:
        given["labels"] = ",".join(f"{name}={value}" for name, value in table.labels.items())
    return [each for name, value in given.items() for each in (f"--{name.replace('_', '-')}", str(value))]


_FORMS = {
    "--labels": "Each label needs =1, =0 or =skip; both 1 and 0 must occur: --labels good=1,bad=0,so-so=skip",
    "--max-rejects": "Give a number or a percentage: --max-rejects 20 or --max-rejects 0.5%",
}
