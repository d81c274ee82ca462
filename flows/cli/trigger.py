"""``sentiflow trigger``: a run of a deployment, started now and followed."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import messages as console
from flows.cli.options import OPERATE, command
from sentiflow.console import CONSOLE, escape, working
from sentiflow.errors import ExternalError, RejectedError, UsageError
from sentiflow.folder import expanded
from sentiflow.names import IMDB, located
from sentiflow.redaction import without_login

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import State
    from prefect.client.schemas.responses import DeploymentResponse

app = typer.Typer()


@command(
    app,
    OPERATE,
    "sentiflow trigger train",
    "sentiflow trigger train --dataset sample --set epochs=3 --seed 7",
    "sentiflow trigger promote --set version=3 --no-wait",
)
def trigger(
    flow: Annotated[
        str,
        typer.Argument(
            metavar="FLOW",
            help="train, repeat, sweep, reproduce, promote, score, housekeeping, monitor, or FLOW/DEPLOYMENT.",
        ),
    ],
    *,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Dataset of this run.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Recipe of this run: a name, or a TOML file.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed of this run.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="Change a flow parameter or a recipe field; repeatable."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the log until the run ends.")] = True,
) -> None:
    """Start a run of a deployment now and follow it.

    The deployment's parameters are used unless you override them.
    """
    from sentiflow.settings import load_settings
    from sentiflow.training.recipes import split_changes

    given = split_changes(changes or ())
    if seed is not None:
        given["seed"] = str(seed)
    settings = load_settings()
    with working("Connecting to Prefect"):
        from prefect.client.orchestration import get_client

        from sentiflow.operations import flow_runs
        from sentiflow.operations.deployments import read
        from sentiflow.operations.prefect_server import connect_to_running

        server = connect_to_running(settings)
    with get_client(sync_client=True) as client:
        deployment = read(client, flow if "/" in flow else f"{flow}/{flow}")
        if deployment is None:
            there = ", ".join(flow_runs.names(client)) or "none yet: start `sentiflow schedule`"
            raise UsageError(f"There is no deployment of {flow!r}.", f"There are: {there}.")
        flow_run = flow_runs.start(client, deployment, parameters_of(deployment, dataset, recipe, given))
        url = f"{without_login(server.ui)}/runs/flow-run/{flow_run.id}"
        CONSOLE.say(f"Started [bold]{flow}[/]: {escape(url)}")
        if not wait:
            return
        try:
            asyncio.run(_follow(flow_run.id))
        except KeyboardInterrupt:
            CONSOLE.print("Stopped following; the run continues.")
        else:
            _end(client.read_flow_run(flow_run.id).state)


def parameters_of(
    deployment: "DeploymentResponse", dataset: str | None, recipe: str | None, given: dict[str, str]
) -> dict[str, Any]:
    """The parameters that differ from the deployment's; what is no parameter of the flow is a recipe's field.

    Raises:
        UsageError: the flow takes no recipe.
    """
    from sentiflow.training.recipes import default_recipe, load_recipe, make_recipe

    known: dict[str, Any] = (deployment.parameter_openapi_schema or {}).get("properties", {})
    theirs = deployment.parameters
    if (named := dataset or given.get("dataset")) is not None:
        given = {**given, "dataset": located(named)}
    mine = {key: _value(text, known[key]) for key, text in given.items() if key in known and key != "config"}
    rest = [f"{key}={text}" for key, text in given.items() if key not in mine]
    if theirs.get("table") and mine.get("dataset") not in (None, theirs.get("dataset")):
        mine.setdefault("table", {})  # its options are of no other dataset
    if "config" not in known:
        if rest or recipe is not None:
            unknown = rest[0].partition("=")[0] if rest else "--recipe"
            raise UsageError(f"This flow has no parameter {unknown!r}.", f"It has: {', '.join(known) or 'none'}.")
        return mine
    fields = theirs.get("config") or known["config"].get("default", {})
    usual = default_recipe(theirs.get("dataset", IMDB))
    if recipe is None and named is not None and fields.get("recipe") == usual != default_recipe(named):
        recipe = default_recipe(named)  # nobody chose the deployment's, which is for another kind of dataset
    if recipe is not None:
        fields = load_recipe(recipe).model_dump()
    if recipe is not None or rest:
        mine["config"] = make_recipe(fields, rest, fields.get("recipe", "")).model_dump(mode="json")
    return mine


def _value(text: str, schema: dict[str, Any]) -> Any:
    """A parameter as JSON where it is such, else as text; the server judges it."""
    forms = [schema, *schema.get("anyOf", [])]
    if any(each.get("format") == "path" for each in forms):
        return str(expanded(text).absolute()) if text else text  # an empty one is what a form sends, too
    if any(each.get("type") == "string" for each in forms):
        return text
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)  # no request can carry NaN or 1e999
    except ValueError:
        return text
    return value


async def _follow(flow_run_id: "UUID") -> None:
    """Print a run's log lines until it ends; only a server that streams them sends any."""
    from prefect.client.schemas.objects import Log
    from prefect.events.subscribers import FlowRunSubscriber
    from websockets.exceptions import WebSocketException

    try:
        async with FlowRunSubscriber(flow_run_id) as stream:
            async for item in stream:
                if isinstance(item, Log):
                    step = "flow" if item.task_run_id is None else "task"
                    console.show(item.timestamp.astimezone(), step, item.message, item.level)
    except (OSError, WebSocketException) as err:
        raise ExternalError(f"The Prefect server was lost: {err}.", "The run may continue: see its page.") from err


def _end(state: "State[Any] | None") -> None:
    from sentiflow.operations.notify import ENCOUNTERED, error_of

    if state is None or not state.is_final():
        raise ExternalError("The Prefect server sends nothing more of this run.", "It may continue: see its page.")
    if state.is_completed():
        first, *others = map(escape, (state.message or "").splitlines() or [""])
        CONSOLE.say(f"[bold]{escape(state.name or 'Completed')}.[/] {first}".rstrip(), *others)
        return
    lines = (state.message or "It left no message.").splitlines()
    message = f"The run ended as {(state.name or state.type.value).lower()}: {ENCOUNTERED.sub('', lines[0])}"
    hint = lines[1] if len(lines) > 1 else "The Prefect UI has all of its log lines."
    raise (RejectedError if error_of(state) == "RejectedError" else ExternalError)(message, hint)
