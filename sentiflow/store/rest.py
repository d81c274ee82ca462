"""Runs and registered models of an MLflow server, read through its REST interface.

A server takes milliseconds for each run that it returns, whatever is wanted of it: so runs are asked for one by
one or by name where that is enough, and the newest before all others.
A test compares it with what MLflow's own client says.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sentiflow.errors import ExternalError
from sentiflow.run.record import PARENT_RUN, RunRecord
from sentiflow.settings import Settings
from sentiflow.store.http import Api
from sentiflow.store.records import (
    RegisteredModel,
    VersionRecord,
    local_path,
    no_run,
    renamed,
    time_of,
    unreadable,
)

ARTIFACTS = "artifacts"  # folder of a packaged model that holds what scores
KERAS = ".keras"
_VERSIONS_PAGE = 1_000
_FIRST = 100  # newest runs that are asked for before the rest
_PAGE = 200
_RUN_ID = re.compile(r"[\w-]+")  # a client may register a version with any text in its place
_PLAIN = re.compile(r"[\w .+\-/:,=@#()]+")  # a name that stands between quotes as it is


class ServerStore:
    """A ``Store`` over a server."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._api = settings, Api(settings.tracking_uri)

    def runs(self) -> list[RunRecord]:
        return self.newest(lambda _: False)[0]

    def newest(self, enough: Callable[[Sequence[RunRecord]], bool]) -> tuple[list[RunRecord], bool]:
        if self._experiment is None:
            return [], True
        # The newest come first, as MLflow sorts runs unless asked otherwise.
        body = {"experiment_ids": [self._experiment], "max_results": _FIRST}
        found = map(_record, self._api.pages("runs/search", "runs", body))
        first = _newest_first(islice(found, _FIRST))
        if len(first) == _FIRST and enough(first):
            return first, False
        once = {run.run_id: run for run in (*first, *found)}  # one that begins meanwhile shifts the pages
        return _newest_first(once.values()), True

    def called(self, name: str, beginning: str) -> list[RunRecord]:
        if self._experiment is None:
            return []
        if _PLAIN.fullmatch(name):
            wanted = [f"attributes.run_name = '{name}'"]
            wanted += [f"attributes.run_id LIKE '{beginning}%'"] if beginning else []
            runs = [run for text in wanted for run in self._search([self._experiment], text)]
        else:
            runs = self.runs()
        found = {
            run.run_id: run for run in runs if run.name == name or (beginning and run.run_id.startswith(beginning))
        }
        return _newest_first(found.values())

    def record(self, run_id: str) -> RunRecord:
        run = self._living(run_id)
        if run is None:
            raise no_run(run_id, self._settings.tracking_uri)
        return _record(run)

    def children(self, run_id: str) -> list[RunRecord]:
        run = self._living(run_id)
        if run is None:
            return []
        below = f"tags.`{PARENT_RUN}` = '{run['info']['run_id']}'"
        found = self._search([run["info"]["experiment_id"]], below)
        once = {child.run_id: child for child in found}  # one that begins meanwhile shifts the pages
        return sorted(once.values(), key=lambda child: (child.started, child.run_id))

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        run = self._living(run_id)
        lines: dict[str, list[tuple[int, float]]] = {}
        for name in sorted(_record(run).metrics) if run else ():
            points = list(self._api.pages("metrics/get-history", "metrics", run_id=run_id, metric_key=name))
            points.sort(key=lambda point: (int(point.get("step", 0)), int(point.get("timestamp", 0))))
            lines[name] = [(int(point.get("step", 0)), float(point.get("value", 0))) for point in points]
        return {name: line for name, line in lines.items() if line and line[-1][0] > 0}

    def file(self, record: RunRecord, name: str, folder: Path) -> Path | None:
        place = local_path(record.artifact_uri)
        if place is not None and (place / name).is_file():
            return place / name
        copy = folder / record.run_id / name
        if copy.is_file():  # it was asked for before
            return copy
        parent = str(Path(name).parent)
        asked = {} if parent == "." else {"path": parent}
        there = self._api.pages("artifacts/list", "files", run_id=record.run_id, **asked)
        if name not in {entry["path"] for entry in there}:
            return None
        self._api.download(f"{_served(f'The files of {record.name}', record.artifact_uri)}/{name}", copy)
        return copy

    def run_names(self, run_ids: list[str]) -> dict[str, str]:
        wanted = sorted(run_id for run_id in run_ids if _RUN_ID.fullmatch(run_id))
        names: dict[str, str] = {}
        if not wanted:
            return names
        found = self._api.pages("experiments/search", "experiments", max_results=_PAGE)
        experiments = [each["experiment_id"] for each in found]
        for first in range(0, len(wanted), _PAGE):
            ids = ", ".join(f"'{run_id}'" for run_id in wanted[first : first + _PAGE])
            for run in self._search(experiments, f"attributes.run_id IN ({ids})"):
                names[run.run_id] = run.name
        return names

    def models(self) -> list[str]:
        models = self._api.pages("registered-models/search", "registered_models", max_results=_VERSIONS_PAGE)
        return sorted(model["name"] for model in models)

    def model(self, name: str) -> RegisteredModel | None:
        found = self._api.find("registered-models/get", name=name)
        if found is None:
            return None
        model = found["registered_model"]
        aliases = {entry["alias"]: int(entry["version"]) for entry in model.get("aliases", ())}
        return RegisteredModel(aliases, _pairs(model.get("tags", ())))

    def versions(self, name: str) -> list[VersionRecord]:
        return sorted(map(_version, self._versions(f"name = '{name}'")), key=lambda version: version.number)

    def version(self, name: str, number: int) -> VersionRecord | None:
        found = self._api.find("model-versions/get", name=name, version=number)
        return None if found is None else _version(found["model_version"])

    def versions_by_run(self) -> Mapping[str, str]:
        found = [one for one in self._versions("") if one.get("run_id")]
        found.sort(key=lambda it: (int(it["creation_timestamp"]), it["name"], int(it["version"])), reverse=True)
        return {one["run_id"]: f"{one['name']}/{one['version']}" for one in found}

    def version_files(self, name: str, number: int, folder: Path) -> Path:
        location = self._api.get("model-versions/get-download-uri", name=name, version=number)["artifact_uri"]
        place = local_path(location)
        if place is not None:
            return place
        served = f"{_served(f'The files of {name} version {number}', location)}/{ARTIFACTS}"
        files = list(self._api.listed(served))
        own = "weights.npz" not in files  # a model of a user's own, which Keras loads to score
        for file in files:
            if own or not file.endswith(KERAS):  # else it is what trains further
                self._api.download(f"{served}/{file}", folder / ARTIFACTS / file)
        return folder

    @cached_property
    def _experiment(self) -> str | None:
        name = self._settings.experiment
        found = self._api.find("experiments/get-by-name", experiment_name=name)
        return None if found is None else str(found["experiment"]["experiment_id"])

    def _living(self, run_id: str) -> dict[str, Any] | None:
        found = self._api.find("runs/get", run_id=run_id)
        run: dict[str, Any] = {} if found is None else found["run"]
        return run if run and run["info"]["lifecycle_stage"] == "active" else None

    def _search(self, experiments: Sequence[str], wanted: str) -> Iterator[RunRecord]:
        body = {"experiment_ids": experiments, "filter": wanted, "max_results": _PAGE}
        return map(_record, self._api.pages("runs/search", "runs", body))

    def _versions(self, condition: str) -> Iterator[dict[str, Any]]:
        asked = {"filter": condition} if condition else {}
        return self._api.pages("model-versions/search", "model_versions", max_results=_VERSIONS_PAGE, **asked)


def _served(what: str, uri: str) -> str:
    """The path below which the server itself hands files out."""
    place = urlparse(uri)
    if place.scheme != "mlflow-artifacts" or place.netloc:
        raise unreadable(what, uri)
    return unquote(place.path)


def _newest_first(runs: Iterable[RunRecord]) -> list[RunRecord]:
    return sorted(runs, key=lambda run: (-run.started.timestamp(), run.run_id))


def _record(run: Mapping[str, Any]) -> RunRecord:
    info, data = run["info"], run.get("data", {})
    if not _RUN_ID.fullmatch(info["run_id"]):  # it names folders, and stands in commands that are shown
        problem = f"The tracking server names a run with the id {info['run_id']!r}, which is not valid."
        raise ExternalError(problem, "Check SENTIFLOW_TRACKING_URI.")
    return RunRecord(
        run_id=info["run_id"],
        name=info.get("run_name", ""),
        status=info["status"],
        started=time_of(int(info.get("start_time", 0))),
        params=_pairs(data.get("params", ())),
        metrics={entry["key"]: float(entry.get("value", 0)) for entry in data.get("metrics", ())},
        tags=renamed(_pairs(data.get("tags", ()))),
        artifact_uri=info.get("artifact_uri", ""),
    )


def _version(version: Mapping[str, Any]) -> VersionRecord:
    made, run_id = time_of(int(version.get("creation_timestamp", 0))), version.get("run_id") or None
    return VersionRecord(int(version["version"]), made, run_id, renamed(_pairs(version.get("tags", ()))))


def _pairs(entries: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {entry["key"]: entry.get("value", "") for entry in entries}
