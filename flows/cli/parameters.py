"""The parameters of a flow run that ``sentiflow trigger`` starts."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sentiflow.console import progress_bar
from sentiflow.errors import UsageError
from sentiflow.folder import expanded
from sentiflow.names import IMDB, located

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

    from sentiflow.settings import Settings


def check_tables(parameters: dict[str, Any], settings: "Settings") -> None:
    """Check the table that a run with these parameters would read, to train on or to score.

    Raises:
        UsageError: it cannot be read so.
    """
    if "source" in parameters and "output" in parameters:
        from sentiflow.batch.job import Request, check_request

        names = ("text_column", "with_text", "keep", "escape_formulas")
        more = {name: parameters[name] for name in names if name in parameters}
        check_request(Request(expanded(parameters["source"]), expanded(parameters["output"]), **more))
    if "config" in parameters:
        from sentiflow.data.prepare import check_data
        from sentiflow.data.table import as_options

        table = as_options(parameters.get("table", {}), "The parameter table")
        check_data(parameters.get("dataset", "imdb"), settings, table, progress_bar)


def parameters_of(
    deployment: "DeploymentResponse",
    dataset: str | None,
    recipe: str | None,
    changes: Sequence[str],
    table: Mapping[str, Any],
) -> dict[str, Any]:
    """The parameters that differ from the deployment's; options of a table are added to the deployment's.

    Raises:
        UsageError: an unknown one, a malformed value, or one is missing.
    """
    from sentiflow.recipes import default_recipe, load_recipe, make_recipe, nearest_field, split_changes

    schema = deployment.parameter_openapi_schema or {}
    known = schema.get("properties", {})
    given = split_changes(changes)
    if (named := dataset or given.get("dataset")) is not None:
        given["dataset"] = located(named)
    mine = {key: _value(value, known[key]) for key, value in given.items() if key in known and key != "config"}
    theirs = deployment.parameters.get("table") or {}
    same = mine.get("dataset") in (None, deployment.parameters.get("dataset"))
    base = theirs if same and "table" not in mine else {}  # a table's options are of no other dataset
    if "table" in known and (table or base != theirs):
        own: Any = mine.get("table", {})
        mine["table"] = {**base, **own, **table} if isinstance(own, dict) else own  # a check refuses what is none
    elif "text_column" in known and set(table) == {"text_column"}:
        mine |= table
    elif table:
        raise UsageError("This flow reads no table to train on.", "Leave the options of a table out.")
    rest = [f"{key}={value}" for key, value in given.items() if key not in mine]
    set_there = deployment.parameters.get("config") or known.get("config", {}).get("default", {})
    if "config" in known and recipe is None and named is not None:
        usual = default_recipe(deployment.parameters.get("dataset", IMDB))
        if set_there.get("recipe") == usual != default_recipe(named):
            recipe = default_recipe(named)  # nobody chose the deployment's, which is for another kind of dataset
    if "config" in known and (recipe is not None or rest):
        for key in (name for name in given if name not in known and not nearest_field(name)):
            if near := difflib.get_close_matches(key, known, n=1):
                raise UsageError(f"This flow has no parameter {key!r}.", f"Did you mean {near[0]}?")
        fields = set_there if recipe is None else load_recipe(recipe).model_dump()
        return mine | {"config": make_recipe(fields, rest, fields.get("recipe", "")).model_dump(mode="json")}
    if recipe is not None or rest:
        unknown = "--recipe" if recipe is not None else rest[0].partition("=")[0]
        raise UsageError(f"This flow has no parameter {unknown!r}.", f"It has: {', '.join(known) or 'none'}.")
    if missing := [name for name in schema.get("required", ()) if name not in deployment.parameters | mine]:
        example = " ".join(f"--set {name}=VALUE" for name in missing)
        raise UsageError(f"This flow needs {', '.join(missing)}.", f"For example: {example}")
    return mine


def _value(text: str, schema: dict[str, Any]) -> Any:
    """A parameter's value, read as the type that the flow's form asks for; the server judges it."""
    forms = [schema, *schema.get("anyOf", [])]
    kinds = {each.get("type") for each in forms} - {None}
    if any(each.get("format") == "path" for each in forms):
        return str(expanded(text).absolute()) if text else text  # an empty one is what a form sends, too
    if kinds and kinds <= {"string", "null"}:
        return text
    try:
        value = json.loads(text.lower() if kinds == {"boolean"} else text)
        json.dumps(value, allow_nan=False)  # no request can carry NaN or 1e999
    except ValueError:
        if "array" not in kinds or text.startswith("["):
            return text
        return [part.strip() for part in text.split(",") if part.strip()]
    return value
