"""The deployments of all flows: what runs when, with which parameters. One table, for every way to run them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentiment.errors import UsageError
from sentiment.names import model_name
from sentiment.recipes import load_recipe
from sentiment.schedules import Deployment, Schedule, Trigger, parse_schedule
from sentiment.settings import PREFIX, Settings

DRIFT = "sentiflow.drift"
"""The event that the monitor emits."""


def deployments(settings: Settings, changes: Sequence[str] = ()) -> list[Deployment]:
    """Every deployment, as the settings want it.

    Args:
        settings: schedules and parameters.
        changes: fields of the recipe, ``key=value``.

    Raises:
        UsageError: a schedule or the recipe is malformed, or a schedule lacks what it needs.
    """
    dataset, model = _dataset(settings.schedule_dataset), model_name(settings.schedule_dataset)
    config = load_recipe(settings.schedule_recipe, changes).model_dump(mode="json")
    training = {"config": config, "dataset": dataset, "seed": 0, "promote": settings.schedule_promotes}
    drift = Trigger(f"train when {model} drifts", DRIFT, f"sentiflow.model.{model}", {"promote": True})
    return [
        Deployment(
            "train", "Train a recipe and register the model.", training, _when("train", settings), 1, (drift,)
        ),
        Deployment(
            "repeat",
            "Train a recipe with several seeds and register the best by validation.",
            training | {"repeats": 5},
            concurrency_limit=1,
        ),
        Deployment(
            "sweep",
            "Search for better values of a recipe's fields and register the best by validation.",
            {"config": config, "dataset": dataset, "seed": 0, "trials": 20, "repeats": 3, "promote": False},
            concurrency_limit=1,
        ),
        Deployment(
            "promote",
            "Put the newest version in use, if the gate says yes.",
            {"dataset": dataset},
            _when("promote", settings),
        ),
        Deployment("score", "Score a table or a folder.", _scoring(settings), _when("score", settings)),
        Deployment(
            "housekeeping",
            "Close what killed runs left, remove what is old.",
            schedule=_when("housekeeping", settings),
            concurrency_limit=1,
        ),
        Deployment(
            "monitor",
            "Compare the texts of late with the training reviews.",
            {"dataset": dataset},
            _when("monitor", settings),
            1,
        ),
    ]


def _when(flow: str, settings: Settings) -> Schedule | None:
    name = f"schedule_{flow}"
    schedule = parse_schedule(getattr(settings, name), settings.schedule_timezone, PREFIX + name.upper())
    if schedule is None:
        return None
    if flow == "score" and not (settings.schedule_source and settings.schedule_output):
        raise UsageError(
            "Scheduled scoring needs an input and an output.",
            f"Set {PREFIX}SCHEDULE_SOURCE and {PREFIX}SCHEDULE_OUTPUT, or the schedule to off.",
        )
    if flow == "monitor" and settings.text_log is None:
        raise UsageError(
            "Monitoring needs a log of the texts that were scored or served.",
            f"Set {PREFIX}TEXT_LOG to a folder, or the schedule to off.",
        )
    return schedule


def _scoring(settings: Settings) -> dict[str, Any]:
    given = {"source": settings.schedule_source, "output": settings.schedule_output}
    return {name: str(path) for name, path in given.items() if path is not None}


def _dataset(given: str) -> str:
    """A table by its whole path: runs need not start in the folder where this was typed."""
    return str(Path(given).expanduser().absolute()) if Path(given).suffix else given
