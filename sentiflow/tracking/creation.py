"""Runs, models and versions made once on an MLflow server, whatever becomes of its answer; endings kept for later.

MLflow's client repeats a request whose answer does not come, and a server that was only slow then carries out
both. So what is created has a tag of its own and is asked for once, through MLflow's REST interface. After an
answer that did not come it is looked for before it is asked for again. How a run ended, if it could not be
written to the store, is kept in the data folder until the next start.
"""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlparse

from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from pydantic import TypeAdapter

from sentiflow.errors import ExternalError
from sentiflow.files import publish
from sentiflow.settings import Settings
from sentiflow.tracking.server import Api, PassingError
from sentiflow.tracking.types import HIDDEN, IS_IT_RUNNING, REGISTERED_BY

LOGGER = logging.getLogger(__name__)

CREATION = f"{HIDDEN}creation"  # the tag; whatever has the same value came from one creation
_ATTEMPTS = 3
_LOOKS = 4  # after an answer that did not come: the server may still be at work on the request
_PAUSE = 1.0  # seconds before each of them

T = TypeVar("T")
Pairs = Mapping[str, str]


def token() -> str:
    """A value of the tag for a new run."""
    return uuid.uuid4().hex


def create_run(client: MlflowClient, experiment: str, tags: Pairs, name: str) -> Run:
    """Make a run, whose tags hold a ``token``.

    Raises:
        MlflowException: the local store refuses it.
        ExternalError: the server refuses it, or does not answer; then it may have been made all the same.
    """
    if not _is_server(client):
        return client.create_run(experiment, tags=dict(tags), run_name=name)
    now = int(time.time() * 1000)
    body = {"experiment_id": experiment, "run_name": name, "start_time": now, "tags": _pairs(tags)}
    find = partial(runs_of, client, experiment, tags[CREATION])
    return _once(client, "runs/create", body, find, lambda run: client.delete_run(run.info.run_id))


def runs_of(client: MlflowClient, experiment: str, value: str) -> list[Run]:
    """The runs that came of one creation: the run, and others if the server carried out a request twice."""
    found = client.search_runs([experiment], f"tags.`{CREATION}` = '{value}'")
    return sorted(found, key=lambda run: run.info.run_id)


def create_model(
    client: MlflowClient, experiment: str, name: str, run_id: str, tags: Pairs, params: Pairs
) -> LoggedModel:
    """Make a model of a run, see ``create_run``."""
    tags = {**tags, CREATION: token()}
    if not _is_server(client):
        return client.create_logged_model(experiment, name, run_id, dict(tags), dict(params))
    body: dict[str, Any] = {"experiment_id": experiment, "name": name, "source_run_id": run_id}

    def find() -> list[LoggedModel]:
        found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
        mine = [model for model in found if model.tags.get(CREATION) == tags[CREATION]]
        return sorted(mine, key=lambda model: str(model.model_id))

    body |= {"tags": _pairs(tags), "params": _pairs(params)}
    return _once(client, "logged-models", body, find, lambda model: client.delete_logged_model(model.model_id))


def create_version(
    client: MlflowClient, name: str, run_id: str, model_id: str, tags: Pairs, description: str
) -> ModelVersion:
    """Make the one version of a run, see ``create_run``."""
    tags, source = {**tags, REGISTERED_BY: run_id}, f"models:/{model_id}"
    if not _is_server(client):
        return client.create_model_version(name, source, run_id, dict(tags), None, description, model_id=model_id)
    body = {"name": name, "source": source, "run_id": run_id, "model_id": model_id, "description": description}
    find = partial(versions_of_run, client, name, run_id)
    return _once(
        client, "model-versions/create", {**body, "tags": _pairs(tags)}, find,
        lambda version: client.delete_model_version(name, version.version),
    )  # fmt: skip


def versions_of_run(client: MlflowClient, name: str, run_id: str) -> list[ModelVersion]:
    """The versions that registering a run made, the first one first; one that a person made is none of them."""
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    mine = [version for version in found if version.tags.get(REGISTERED_BY) == run_id]
    return sorted(mine, key=lambda version: int(version.version))


def _is_server(client: MlflowClient) -> bool:
    return urlparse(client.tracking_uri).scheme in ("http", "https")


def _once(
    client: MlflowClient, what: str, body: dict[str, Any], find: Callable[[], list[T]], remove: Callable[[T], None]
) -> T:
    """Ask until it is there; what is there twice after all is removed, before anybody uses it."""
    api = Api(client.tracking_uri, attempts=0)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            api.post(what, body)
        except PassingError as err:
            LOGGER.warning("MLflow did not answer (%s): checking whether it was done", err.args[0])
            found = []
            for _ in range(_LOOKS):
                time.sleep(_PAUSE)
                if found := find():
                    break
            if not found and attempt == _ATTEMPTS:
                raise
        else:
            time.sleep(0 if attempt == 1 else _LOOKS * _PAUSE)  # the one before may still be under way
            found = find()
        if found:
            break
    else:
        raise ExternalError("The MLflow server does not return what it created.", IS_IT_RUNNING)
    for other in found[1:]:
        LOGGER.warning("the MLflow server carried out a request twice: removing the duplicate")
        remove(other)
    return found[0]


def _pairs(values: Pairs) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


@dataclass(frozen=True)
class Ending:
    """How a run ended, and why, without a full stop."""

    status: Literal["FINISHED", "FAILED", "KILLED"]
    why: str


_ENDING = TypeAdapter(Ending)


def keep(key: str, ending: Ending, settings: Settings) -> None:
    """Keep how a run ended, by its id, or by the tag of its creation when the store never answered.

    Raises:
        OSError: it cannot be written.
    """
    publish(folder(settings) / f"{key}.json", lambda file: file.write_bytes(_ENDING.dump_json(ending)))


def find(run: Run, settings: Settings) -> Ending | None:
    """How a run ended; None if nothing that can be read was kept on this machine."""
    for file in _files(run, settings):
        with suppress(OSError, ValueError):
            return _ENDING.validate_json(file.read_bytes())
    return None


def drop(run: Run, settings: Settings) -> None:
    """Forget how a run ended: the store knows."""
    for file in _files(run, settings):
        file.unlink(missing_ok=True)


def folder(settings: Settings) -> Path:
    """Where endings are kept, one file a run."""
    return settings.data_dir / "endings"


def _files(run: Run, settings: Settings) -> list[Path]:
    keys = run.info.run_id, run.data.tags.get(CREATION, "")
    return [folder(settings) / f"{key}.json" for key in keys if key.isalnum()]
