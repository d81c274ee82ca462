"""Deployments of the flows, with their schedules and parameters, and prefect.yaml."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from sentiflow.errors import SentiflowError, UsageError
from sentiflow.names import model_name
from sentiflow.orchestration.deployments import NAME, Deployment, Schedule, Trigger, parse_schedule
from sentiflow.output import without_login
from sentiflow.recipes import load_recipe
from sentiflow.settings import PREFIX, Settings, load_settings

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


_HEAD = """\
# Written by `make deployments` from flows/deployments.py and the default settings: change those, not this.
# Once, where the server has no such pool yet:
#   prefect work-pool create {pool}
# Then, and after each change:
#   prefect --no-prompt deploy --all{option}
"""
_CREATE = {
    "process": "--type process",
    "docker": "--type docker",
    "kubernetes": "--type kubernetes --base-job-template stack/kubernetes-pool.json",
}
# Where containers keep files is the image's; schedules are the deployment's own; the service is another container.
_NOT_FOR_JOBS = re.compile("tracking_uri|artifact_root|data_dir|text_log|prefect_port|schedule_.*|serve_.*")
_IMAGE = "sentiflow-pipeline:0.1.0"
_SERVER = "http://mlflow:5000"
# As docker-compose.yml confines its services; stack/kubernetes-pool.json does so with pods.
_CONFINED = {
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 8_192,
    "init": True,
}
# Of a training on the IMDB reviews: 1.5 GB measured, twice that to be safe.
_MEMORY, _CORES = 3, 2


def work_pool(name: str, kind: str, settings: Settings) -> dict[str, Any]:
    """A work pool, and what its jobs need.

    What is set and no secret goes with it. MLflow's password and other secrets do not: whoever sees the deployment
    would read them. A container finds the password in a file of its host, a pod all of them in a secret of its
    namespace (stack/kubernetes-pool.json).

    Args:
        name: of the pool.
        kind: process, docker or kubernetes.
        settings: where MLflow's server is, for containers.
    """
    own = settings.tracking_uri.startswith("http")
    server = without_login(settings.tracking_uri) if own else _SERVER  # the login is in a file, see above
    env = {f"{PREFIX}TRACKING_URI": server, **_told(settings)}
    container = {"image": _IMAGE, "image_pull_policy": "IfNotPresent", "env": env}
    variables: dict[str, dict[str, Any]] = {
        "process": {},
        "docker": {
            **container,
            "networks": ["sentiflow_tracking", "sentiflow_orchestration"],
            "volumes": [
                "sentiflow_data:/data",
                "/etc/sentiflow/mlflow-credentials:/home/sentiflow/.mlflow/credentials:ro",
            ],
            "mem_limit": f"{_MEMORY}g",
            "auto_remove": True,
            "container_create_kwargs": _CONFINED,
        },
        "kubernetes": {
            **container,
            "namespace": NAME,
            "cpu_request": "1",
            "cpu_limit": str(_CORES),
            "memory_request": f"{_MEMORY}Gi",
            "memory_limit": f"{_MEMORY}Gi",
            "finished_job_ttl": 3_600,
        },
    }
    variables_of = variables[kind]
    return {"name": name, **({"job_variables": variables_of} if variables_of else {})}


def _told(settings: Settings) -> dict[str, str]:
    """The settings that somebody made and that jobs need, but for secrets."""
    told = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
    return {
        PREFIX + name.upper(): str(value)
        for name, value in told.items()
        if not _NOT_FOR_JOBS.fullmatch(name) and not isinstance(value, SecretStr) and value is not None
    }


def entry(spec: Deployment, pool: dict[str, Any]) -> dict[str, Any]:
    """A deployment as ``prefect deploy`` reads it."""
    limit = spec.concurrency_limit
    return {
        "name": NAME,
        "description": spec.description,
        "tags": list(spec.tags),
        "entrypoint": spec.entrypoint,
        "parameters": spec.parameters,
        "schedules": [] if spec.schedule is None else [{"slug": NAME, **schedule_entry(spec.schedule)}],
        **({} if limit is None else {"concurrency_limit": {"limit": limit, "collision_strategy": "ENQUEUE"}}),
        **({"triggers": triggers} if (triggers := _triggers(spec)) else {}),
        "work_pool": pool,
    }


def schedule_entry(schedule: Schedule) -> dict[str, Any]:
    """A schedule as ``prefect deploy`` reads it; intervals in seconds."""
    if schedule.cron:
        return {"cron": schedule.cron, "timezone": schedule.timezone}
    anchor = "2020-01-01T00:00:00+00:00"  # the same slots, however often it is deployed
    return {"interval": schedule.interval.total_seconds(), "anchor_date": anchor, "timezone": "UTC"}


def _triggers(spec: Deployment) -> list[dict[str, Any]]:
    return [
        {
            "name": trigger.name,
            "type": "event",
            "expect": [trigger.event],
            "match": {"prefect.resource.id": trigger.resource},
            "parameters": trigger.parameters,
        }
        for trigger in spec.triggers
    ]


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Gives what stands there twice a name that tells what it is."""

    def generate_anchor(self, node: yaml.Node) -> str:  # noqa: D102
        keys = {key.value for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()
        return "recipe" if "recipe" in keys else "pool" if "name" in keys else f"shared{id(node)}"


def write(entries: list[dict[str, Any]], pool: str, option: str) -> str:
    """The file's text.

    Args:
        entries: of the deployments.
        pool: name and options of its pool, for its head.
        option: that names the file to ``prefect deploy``, likewise.
    """
    # No pull step: the flows are installed where they run.
    whole = {"name": NAME, "pull": [], "deployments": entries}
    text: str = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return _HEAD.format(pool=pool, option=option) + text


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.deployments", description="Write prefect.yaml.")
    parser.add_argument("--type", choices=("process", "docker", "kubernetes"), default="process")
    parser.add_argument("--pool", default=None, help="work pool; by default sentiflow, with its type")
    parser.add_argument("--file", default="prefect.yaml", help="its name, for its head")
    parser.add_argument("--defaults", action="store_true", help="the default settings, whatever is set")
    parser.add_argument("--keep-paused", action="store_true", help="what was paused on the server stays so")
    return parser.parse_args()


def main() -> int:
    """Write the file to the standard output; 2 when a setting is wrong."""
    given = _arguments()
    try:
        settings = Settings.model_construct() if given.defaults else load_settings()
        pool = work_pool(
            given.pool or (NAME if given.type == "process" else f"{NAME}-{given.type}"), given.type, settings
        )
        entries = [entry(spec, pool) for spec in deployments(settings)]
        if given.keep_paused:
            from sentiflow.orchestration.deployments import keep_paused

            entries = keep_paused(entries)
    except SentiflowError as err:
        sys.stderr.write(f"{err.args[0]}\n{err.hint}\n")
        return 2
    option = "" if given.file == "prefect.yaml" else f" --prefect-file {given.file}"
    sys.stdout.write(write(entries, f"{pool['name']} {_CREATE[given.type]}", option))
    return 0


if __name__ == "__main__":
    sys.exit(main())
