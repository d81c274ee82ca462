"""``sentiflow trigger``."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli import console
from sentiflow.console import CONSOLE, escape
from sentiflow.errors import RefusedError, UsageError, WorldError
from sentiflow.orchestration.deployments import NAME
from sentiflow.output import without_login
from sentiflow.recipes import TrainConfig, load_recipe, make_recipe, split_change
from sentiflow.settings import load_settings

if TYPE_CHECKING:  # its imports take seconds
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse

# What Prefect's engine says of states and hooks; how the run ended is told at the end.
_NOISE = (
    "Beginning flow run", "View at", "Finished in state", "Running hook", "Hook ", "Engine execution exited",
    "Encountered exception", "Task run failed with exception", "Crash detected!",
)  # fmt: skip
_ENDED_BY = re.compile(r"(?:Flow|Task) run encountered an exception:? (\w+): ")


def run(flow: str, dataset: str | None, recipe: str | None, changes: Sequence[str], *, wait: bool) -> None:
    """Start a run of a deployment and follow it to its end.

    Raises:
        UsageError: no such deployment, parameter or field, or a malformed value.
        RefusedError: the run ended with the no of a gate or a person.
        WorldError: no Prefect server answers, or the run failed, crashed or was cancelled.
    """
    for change in changes:
        split_change(change)
    settings = load_settings()
    from prefect.client.orchestration import get_client

    from sentiflow.orchestration import flow_runs
    from sentiflow.orchestration.deployments import read
    from sentiflow.orchestration.server import connect_to_running

    server = connect_to_running(settings)
    with get_client(sync_client=True) as client:
        deployment = read(client, f"{flow}/{NAME}")
        if deployment is None:
            there = ", ".join(flow_runs.names(client)) or "none yet: start `sentiflow schedule`"
            raise UsageError(f"There is no deployment of {flow!r}.", f"There are: {there}.")
        parameters = parameters_of(deployment, dataset, recipe, changes)
        flow_run = flow_runs.start(client, deployment, parameters)
        url = f"{without_login(server.ui)}/runs/flow-run/{flow_run.id}"
        CONSOLE.print(f"Started [bold]{flow}[/]: {url}", soft_wrap=True)
        if wait:
            _follow(client, flow_run)


def parameters_of(
    deployment: "DeploymentResponse", dataset: str | None, recipe: str | None, changes: Sequence[str]
) -> dict[str, Any]:
    """The parameters that differ from the deployment's.

    Raises:
        UsageError: an unknown one, or a malformed value.
    """
    schema = deployment.parameter_openapi_schema or {}
    known = schema.get("properties", {})
    given = dict(split_change(change) for change in changes)
    if dataset is not None:
        given["dataset"] = str(Path(dataset).expanduser().absolute()) if Path(dataset).suffix else dataset
    mine = {key: _value(value, known[key]) for key, value in given.items() if key in known and key != "config"}
    rest = [f"{key}={value}" for key, value in given.items() if key not in mine]
    if "config" in known and (recipe is not None or rest):
        base = (
            load_recipe(recipe) if recipe is not None else TrainConfig(**deployment.parameters.get("config", {}))
        )
        return mine | {"config": make_recipe(base.model_dump(), rest, base.recipe).model_dump(mode="json")}
    if recipe is not None or rest:
        unknown = "--recipe" if recipe is not None else rest[0].partition("=")[0]
        raise UsageError(f"This flow has no parameter {unknown!r}.", f"It has: {', '.join(known) or 'none'}.")
    return mine


def _value(text: str, schema: dict[str, Any]) -> Any:
    """A parameter's value, read as the type that the flow's form asks for; the server judges it."""
    kinds = {each.get("type") for each in [schema, *schema.get("anyOf", [])]} - {None}
    if schema.get("format") == "path":
        return str(Path(text).expanduser().absolute())
    if kinds <= {"string", "null"}:
        return text
    try:
        return json.loads(text.lower() if kinds == {"boolean"} else text)
    except ValueError:
        return text


def _follow(client: "SyncPrefectClient", flow_run: "FlowRun") -> None:
    from sentiflow.orchestration.flow_runs import Line, follow

    try:
        for told in follow(client, flow_run, _tell_wait):
            if not isinstance(told, Line):
                _end(told)
            elif not told.message.startswith(_NOISE):
                console.show(told.moment.astimezone(), told.step, told.message, told.level)
    except KeyboardInterrupt:
        CONSOLE.print("Not followed any more; the run goes on.")


def _tell_wait(behind_another: bool) -> None:
    why = (
        "another run of this deployment goes on; it begins after that one"
        if behind_another
        else "nothing has taken it yet. Does `sentiflow schedule` run, or a worker?"
    )
    CONSOLE.print(f"It waits: {why}", soft_wrap=True)


def _end(state: "State[Any]") -> None:
    lines = (state.message or "It left no message.").splitlines()
    if state.is_completed():
        CONSOLE.print(f"[bold]Completed.[/] {escape(state.message or '')}".rstrip(), soft_wrap=True)
        return
    reason = _ENDED_BY.match(lines[0])
    told = f"The run ended as {(state.name or state.type.value).lower()}: {_ENDED_BY.sub('', lines[0])}"
    hint = lines[1] if len(lines) > 1 else "The Prefect UI has all of its log lines."
    refused = reason is not None and reason[1] == RefusedError.__name__
    raise (RefusedError if refused else WorldError)(told, hint)
