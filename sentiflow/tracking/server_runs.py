"""Runs behind an MLflow server, read over HTTP without MLflow's client.

A server takes milliseconds for each run that it tells of, whatever is wanted of it: so runs are asked for one by
one or by name where that is enough, and all of them in parts, which its workers answer side by side. A test holds
it to what MLflow's own client says.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sentiflow.errors import UsageError
from sentiflow.output import redact
from sentiflow.runs.record import RunRecord, called
from sentiflow.settings import Settings
from sentiflow.tracking.run_files import file_of
from sentiflow.tracking.server_api import AT_ONCE, ServerApi
from sentiflow.tracking.server_registry import ServerRegistry

_FIRST = 50  # newest runs that are asked for before the rest is asked for in parts
_PAGE = 200  # a server with one worker tells four parts one after the other, each within the time-out
_NO_EXPERIMENT = ("RESOURCE_DOES_NOT_EXIST",)
_DIGITS = "0123456789abcdef"  # an id, which MLflow draws at random, begins with each as often
_PLAIN = re.compile(r"[\w .+\-/:,=@#()]+")  # a name that stands between quotes as it is


class ServerRuns:
    """A ``RunStore`` over a server."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._api = settings, ServerApi(settings)

    @property
    def registry(self) -> ServerRegistry:
        """The registered models of the same store."""
        return ServerRegistry(self._api)

    def runs(self) -> list[RunRecord]:
        """All runs of the experiment, newest first."""
        if self._experiment is None:
            return []
        page = self._page(self._experiment, "", "DESC", most=_FIRST)
        found = {run.run_id: run for run in map(_record, page.get("runs", ()))}
        if page.get("next_page_token"):
            last = page["runs"][-1]["info"]["start_time"]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for part in pool.map(self._part, [int(last)] * len(_DIGITS), _DIGITS):
                    found |= {run.run_id: run for run in part}
        return _newest_first(found.values())

    def names(self) -> list[tuple[str, str]]:
        """Id and name of each of them; a server gives no less than the whole runs, so it is asked once."""
        return self._names

    def called(self, name: str, beginning: str) -> list[tuple[str, str]]:
        """Those of them with a name, or an id that begins so."""
        if not _PLAIN.fullmatch(name):
            return called(self.names(), name, beginning)
        wanted = [f"attributes.run_name = '{name}'"]
        wanted += [f"attributes.run_id LIKE '{beginning}%'"] if beginning else []
        experiment = self._experiment
        found = [run for text in wanted for run in self._search(experiment, text, "DESC")] if experiment else []
        names = {run.run_id: run.name for run in _newest_first(found)}
        return called(list(names.items()), name, beginning)

    def record(self, run_id: str) -> RunRecord:
        """A run."""
        run = self._living(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id} in {redact(self._settings.tracking_uri)}.")
        return _record(run)

    def children(self, run_id: str) -> list[RunRecord]:
        """The runs below a run, oldest first."""
        run = self._living(run_id)
        if run is None:
            return []
        below = f"tags.`mlflow.parentRunId` = '{run['info']['run_id']}'"
        return list(self._search(run["info"]["experiment_id"], below, "ASC"))

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metrics logged per epoch."""
        run = self._living(run_id)
        names = sorted(_record(run).metrics) if run else []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lines = list(pool.map(self._line, [run_id] * len(names), names))
        return {name: line for name, line in zip(names, lines, strict=True) if line and line[-1][0] > 0}

    def file(self, record: RunRecord, name: str, folder: Path) -> Path | None:
        """One of a run's files."""
        place = urlparse(record.artifact_uri)
        path = unquote(place.path)
        if place.scheme in ("", "file") and (Path(path) / name).is_file():
            return Path(path) / name
        parent = str(Path(name).parent)
        asked = {} if parent == "." else {"path": parent}
        there = self._api.pages("artifacts/list", "files", run_id=record.run_id, **asked)
        if name not in {entry["path"] for entry in there}:
            return None
        if place.scheme != "mlflow-artifacts" or place.netloc:
            return file_of(record, name, folder, self._settings)  # in a store of its own, not the server's
        copy = folder / record.run_id / name
        self._api.download(f"{path}/{name}", copy)
        return copy

    def versions(self) -> Mapping[str, str]:
        """Registered versions by the id of their run."""
        return self.registry.by_run()

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        return [(run.run_id, run.name) for run in self.runs()]

    @cached_property
    def _experiment(self) -> str | None:
        name = self._settings.experiment
        found = self._api.find("experiments/get-by-name", _NO_EXPERIMENT, experiment_name=name)
        return None if found is None else str(found["experiment"]["experiment_id"])

    def _living(self, run_id: str) -> dict[str, Any] | None:
        found = self._api.find("runs/get", run_id=run_id)
        run: dict[str, Any] = {} if found is None else found["run"]
        return run if run and run["info"]["lifecycle_stage"] == "active" else None

    def _part(self, before: int, digit: str) -> list[RunRecord]:
        wanted = f"attributes.start_time <= {before} AND attributes.run_id LIKE '{digit}%'"
        return list(self._search(str(self._experiment), wanted, "DESC"))

    def _search(self, experiment: str, wanted: str, order: str) -> Iterator[RunRecord]:
        token: str | None = None
        while token is None or token:
            page = self._page(experiment, wanted, order, token=token)
            yield from map(_record, page.get("runs", ()))
            token = page.get("next_page_token", "")

    def _page(
        self, experiment: str, wanted: str, order: str, most: int = _PAGE, token: str | None = None
    ) -> dict[str, Any]:
        asked = {"experiment_ids": [experiment], "filter": wanted, "max_results": most,
                 "order_by": [f"attributes.start_time {order}"]}  # fmt: skip
        return self._api.post("runs/search", asked | ({"page_token": token} if token else {}))

    def _line(self, run_id: str, name: str) -> list[tuple[int, float]]:
        asked = {"run_id": run_id, "metric_key": name}
        points = list(self._api.pages("metrics/get-history", "metrics", **asked))
        points.sort(key=lambda point: (int(point.get("step", 0)), int(point["timestamp"])))
        return [(int(point.get("step", 0)), float(point["value"])) for point in points]


def _newest_first(runs: Iterable[RunRecord]) -> list[RunRecord]:
    return sorted(runs, key=lambda run: (-run.started.timestamp(), run.run_id))


def _record(run: Mapping[str, Any]) -> RunRecord:
    info, data = run["info"], run.get("data", {})
    return RunRecord(
        run_id=info["run_id"],
        name=info.get("run_name", ""),
        status=info["status"],
        started=datetime.fromtimestamp(int(info["start_time"]) / 1000, UTC),
        params={entry["key"]: entry.get("value", "") for entry in data.get("params", ())},
        metrics={entry["key"]: float(entry["value"]) for entry in data.get("metrics", ())},
        tags={entry["key"]: entry.get("value", "") for entry in data.get("tags", ())},
        artifact_uri=info.get("artifact_uri", ""),
    )
