"""The deployments of prefect.yaml, with the schedules and parameters of the settings.

The default schedule: ``train`` on Mondays at 03:00, ``housekeeping`` daily at 05:00, both in UTC; the other flows
have none. The fields ``schedule_*`` of ``Settings`` say so, and prefect.yaml for ``prefect deploy``.
"""

import pkgutil
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ParameterTypeError, SignatureMismatchError

from sentiflow.console import CONSOLE, escape
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions, as_options
from sentiflow.environment import install, lacking
from sentiflow.errors import UsageError
from sentiflow.names import BUILT_IN, located, model_name
from sentiflow.operations.deployments import Deployment, Schedule, parse_schedule
from sentiflow.settings import PREFIX, Settings
from sentiflow.training.recipes import default_recipe, load_recipe

FILE = Path(__file__).with_name("prefect.yaml")

_SET_BY_SETTINGS = {
    "train": ("config", "dataset", "promote", "table"),
    "repeat": ("config", "dataset", "promote", "table"),
    "sweep": ("config", "dataset", "table"),
    "reproduce": ("run",),
    "promote": ("dataset",),
    "score": ("dataset", "text_column"),
    "monitor": ("dataset",),
}


def deployments(settings: Settings) -> list[Deployment]:
    """Every deployment of prefect.yaml, as the settings want it."""
    table = scheduled_table(settings)
    recipe = settings.schedule_recipe or default_recipe(settings.schedule_dataset)
    values = {
        "config": load_recipe(recipe).short(),
        "dataset": located(settings.schedule_dataset),
        "promote": settings.schedule_promote_after_train,
        "run": f"{model_name(settings.schedule_dataset)}@champion",
        "table": {} if table == DEFAULT_OPTIONS else table.model_dump(),
        "text_column": settings.schedule_table.get("text_column"),
    }
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    if missing := lacking("sweep"):
        CONSOLE.say(escape(f"Sweeps are left out: they need {missing}: {install('sweep')}"))
        entries = [entry for entry in entries if entry["name"] != "sweep"]
    if unknown := settings.schedule_parameters.keys() - {entry["name"] for entry in entries}:
        names = ", ".join(entry["name"] for entry in entries)
        problem = f"{PREFIX}SCHEDULE_PARAMETERS: there is no deployment {min(unknown)!r}."
        raise UsageError(problem, f"There are: {names}.")
    return [_deployment(entry, values, settings) for entry in entries]


def scheduled_table(settings: Settings) -> TableOptions:
    """How scheduled trainings read their dataset; beside a built-in one, the text column is of scoring alone."""
    options = as_options(settings.schedule_table, f"{PREFIX}SCHEDULE_TABLE")
    built_in = settings.schedule_dataset in BUILT_IN
    return options.model_copy(update={"text_column": DEFAULT_OPTIONS.text_column}) if built_in else options


def _deployment(entry: dict[str, Any], values: dict[str, Any], settings: Settings) -> Deployment:
    flow = entry["entrypoint"].rpartition(".")[2]
    schedule = _schedule(flow, entry, settings)
    ours = {name: values[name] for name in _SET_BY_SETTINGS.get(flow, ()) if values[name] not in (None, {})}
    parameters = entry.get("parameters", {}) | ours | settings.schedule_parameters.get(flow, {})
    if flow in settings.schedule_parameters or (flow == "score" and schedule):
        _check(entry["entrypoint"], parameters)
    return Deployment(
        entry["entrypoint"],
        entry["description"],
        parameters,
        schedule,
        # What is late waits in turn.
        settings.schedule_trainings if flow == "train" else entry.get("concurrency_limit", schedule and 1),
    )


def _check(entrypoint: str, parameters: dict[str, Any]) -> None:
    """Check what a run would fail of: the server checks no scheduled one."""
    flow: Flow[..., Any] = pkgutil.resolve_name(entrypoint)
    try:
        flow.validate_parameters(parameters)
    except (ParameterTypeError, SignatureMismatchError) as err:
        problem = f"The parameters of the deployment {flow.name} are refused: {err}"
        raise UsageError(problem, f"Correct {PREFIX}SCHEDULE_PARAMETERS.") from err


def _schedule(flow: str, entry: dict[str, Any], settings: Settings) -> Schedule | None:
    """As the settings want it; that of a flow without a setting is the file's."""
    given = getattr(settings, f"schedule_{flow}", None)
    if given is None:
        files = [CronSchedule(cron=each["cron"], timezone=each["timezone"]) for each in entry.get("schedules", ())]
        return files[0] if files else None
    what = f"The schedule of {flow} ({PREFIX}SCHEDULE_{flow.upper()})"
    if (schedule := parse_schedule(given, settings.schedule_timezone.key, what)) is None:
        return None
    if flow == "monitor" and settings.prediction_log_dir is None:
        problem = "Monitoring needs a log of the texts that were scored or served."
        raise UsageError(problem, f"Set {PREFIX}PREDICTION_LOG_DIR to a folder, or the schedule to off.")
    return schedule
