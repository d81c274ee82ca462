"""An MLflow server, read through its documented REST interface: MLflow's client takes seconds to import.

Login, certificates, the number of retries and the time-out follow the variables that the client reads. A server
takes milliseconds for each run that it returns, whatever is wanted of it: so runs are asked for one by one or by
name where that is enough, the newest before all others, and these in parts, which its workers answer side by side.
A test compares it with what MLflow's own client says.
"""

import base64
import configparser
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlparse

import requests
from requests.adapters import HTTPAdapter, Retry

from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.files import publish
from sentiflow.folder import expanded
from sentiflow.output import redact, without_secrets
from sentiflow.runs.record import RunRecord
from sentiflow.settings import Settings
from sentiflow.tracking.types import (
    HTTP,
    MISSING,
    REGISTERED_BY,
    RegisteredModel,
    VersionRecord,
    hint_for,
    local_path,
    need_version_files,
    no_run,
    time_of,
    unreadable,
)

ARTIFACTS = "artifacts"  # folder of a packaged model that holds what scores
KERAS = ".keras"
_AT_ONCE = 4  # requests side by side: as many as a server has workers by default
_PASSING = (408, 429, 500, 502, 503, 504)  # answers that may be others a moment later: a proxy's, a busy server's
_BLOCK = 1 << 20
_FIRST = 100  # newest runs that are asked for before the rest is asked for in parts
_VERSIONS_PAGE = 1_000
_PAGE = 200  # a server with one worker answers four parts one after the other, each within the time-out
_NO_EXPERIMENT = ("RESOURCE_DOES_NOT_EXIST",)
_DIGITS = "0123456789abcdef"  # an id, which MLflow draws at random, begins with each as often
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
        page = self._api.post("runs/search", {"experiment_ids": [self._experiment], "max_results": _FIRST})
        found = {run.run_id: run for run in map(_record, page.get("runs", ()))}
        first, whole = _newest_first(found.values()), not page.get("next_page_token")
        if whole or enough(first):
            return first, whole
        last = page["runs"][-1]["info"].get("start_time", 0)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for part in pool.map(self._part, [int(last)] * len(_DIGITS), _DIGITS):
                found |= {run.run_id: run for run in part}
        return _newest_first(found.values()), True

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
        below = f"tags.`mlflow.parentRunId` = '{run['info']['run_id']}'"
        found = self._search([run["info"]["experiment_id"]], below)
        once = {child.run_id: child for child in found}  # one that begins meanwhile shifts the pages
        return sorted(once.values(), key=lambda child: (child.started, child.run_id))

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        run = self._living(run_id)
        names = sorted(_record(run).metrics) if run else []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            lines = list(pool.map(self._line, [run_id] * len(names), names))
        return {name: line for name, line in zip(names, lines, strict=True) if line and line[-1][0] > 0}

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
        found.sort(key=lambda one: (_is_own(one), one["name"], int(one["version"])))
        return {one["run_id"]: f"{one['name']}/{one['version']}" for one in found}

    def version_files(self, name: str, number: int, folder: Path) -> Path:
        location = self._api.get("model-versions/get-download-uri", name=name, version=number)["artifact_uri"]
        place = local_path(location)
        if place is not None:
            return need_version_files(name, number, place)
        served = f"{_served(f'The files of {name} version {number}', location)}/{ARTIFACTS}"
        for file in self._api.listed(served):
            if not file.endswith(KERAS):  # what trains further; nothing that scores reads it
                self._api.download(f"{served}/{file}", folder / ARTIFACTS / file)
        return folder

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
        return list(self._search([str(self._experiment)], wanted))

    def _search(self, experiments: Sequence[str], wanted: str) -> Iterator[RunRecord]:
        body = {"experiment_ids": experiments, "filter": wanted, "max_results": _PAGE}
        return map(_record, self._api.pages("runs/search", "runs", body))

    def _versions(self, condition: str) -> Iterator[dict[str, Any]]:
        asked = {"filter": condition} if condition else {}
        return self._api.pages("model-versions/search", "model_versions", max_results=_VERSIONS_PAGE, **asked)

    def _line(self, run_id: str, name: str) -> list[tuple[int, float]]:
        asked = {"run_id": run_id, "metric_key": name}
        points = list(self._api.pages("metrics/get-history", "metrics", **asked))
        points.sort(key=lambda point: (int(point.get("step", 0)), int(point.get("timestamp", 0))))
        return [(int(point.get("step", 0)), float(point.get("value", 0))) for point in points]


def _is_own(version: Mapping[str, Any]) -> bool:
    """Whether the training of its run registered it, and no person."""
    copied = re.match("models:/.*/", str(version.get("source")))  # by MLflow, with the tags of the version
    return not copied and _pairs(version.get("tags", ())).get(REGISTERED_BY) == version["run_id"]


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
        raise ExternalError(
            f"The tracking server names a run with the id {info['run_id']!r}, which is not valid.",
            "Check SENTIFLOW_TRACKING_URI.",
        )
    return RunRecord(
        run_id=info["run_id"],
        name=info.get("run_name", ""),
        status=info["status"],
        started=time_of(int(info.get("start_time", 0))),
        params=_pairs(data.get("params", ())),
        metrics={entry["key"]: float(entry.get("value", 0)) for entry in data.get("metrics", ())},
        tags=_pairs(data.get("tags", ())),
        artifact_uri=info.get("artifact_uri", ""),
    )


def _version(version: Mapping[str, Any]) -> VersionRecord:
    made = time_of(int(version.get("creation_timestamp", 0)))
    return VersionRecord(
        int(version["version"]), made, version.get("run_id") or None, _pairs(version.get("tags", ()))
    )


def _pairs(entries: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {entry["key"]: entry.get("value", "") for entry in entries}


class PassingError(ExternalError):
    """A server did not answer, or only with a passing failure: it may have done what was asked all the same."""


class Api:
    """A server; every call raises ExternalError when it does not answer, or not with what was asked for.

    Several threads may ask at once. A request is repeated ``attempts`` times at most, by default as often as by
    MLflow's client.
    """

    def __init__(self, address: str, attempts: int | None = None) -> None:
        self._address = address.rstrip("/")
        retries, seconds = (os.environ.get(name, default) for name, default in HTTP.items())
        try:
            self._seconds, tries = float(seconds), int(retries) if attempts is None else attempts
        except ValueError as err:
            hint = "They are numbers, such as 3 and 10."
            raise UsageError(f"{' or '.join(HTTP)} is malformed: {first_line(err)}.", hint) from err
        self._session = requests.Session()
        self._session.headers.update(_login())
        certificate = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
        trusting = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
        self._verify: bool | str = certificate or not trusting
        self._session.cert = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
        retry = Retry(
            tries, status_forcelist=_PASSING, allowed_methods=None,
            backoff_factor=0.5, raise_on_status=False,  # the last answer says more
            respect_retry_after_header=False,  # no hour's wait
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=_AT_ONCE, max_retries=retry))

    def get(self, what: str, **wanted: str | int) -> dict[str, Any]:
        """The answer to a question without a body, such as ``runs/get``."""
        return self._json(what, self._ask("GET", f"/api/2.0/mlflow/{what}", params=wanted))

    def find(self, what: str, missing: Sequence[str] = MISSING, **wanted: str | int) -> dict[str, Any] | None:
        """The answer to a question like ``get``'s, or None where the answer is one of these error codes."""
        response = self._ask("GET", f"/api/2.0/mlflow/{what}", params=wanted)
        if response.status_code != requests.codes.ok and (_object_of(response) or {}).get("error_code") in missing:
            return None
        return self._json(what, response)

    def post(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question with one, such as ``runs/search``."""
        return self._json(what, self._ask("POST", f"/api/2.0/mlflow/{what}", json=body))

    def pages(
        self, what: str, key: str, body: Mapping[str, Any] | None = None, /, **wanted: str | int
    ) -> Iterator[Any]:
        """Everything under a key of the answers to ``get``, or with a body to ``post``, page by page."""
        token: str | None = None
        while token is None or token:
            more = {"page_token": token} if token else {}
            page = self.get(what, **wanted, **more) if body is None else self.post(what, {**body, **more})
            yield from page.get(key, ())
            token = page.get("next_page_token", "")

    def listed(self, path: str) -> list[str]:
        """Names of the files in a folder that the server itself hands out.

        Raises:
            ExternalError: the server fails, or a name leads to another folder.
        """
        where = "/api/2.0/mlflow-artifacts/artifacts"
        answer = self._json(where, self._ask("GET", where, params={"path": path.strip("/")}))
        names = [str(entry["path"]) for entry in answer.get("files", ()) if not entry.get("is_dir")]
        for name in names:
            if "/" in name or name in ("", ".", ".."):
                raise ExternalError(
                    f"The tracking store {redact(self._address)} lists a file outside of the folder: {name!r:.99}",
                    "Nothing was written. Ask the server's administrator.",
                )
        return names

    def download(self, path: str, target: Path) -> None:
        """Fetch an artifact that the server itself keeps into a file, whole or not at all."""
        where = f"/api/2.0/mlflow-artifacts/artifacts/{quote(path.strip('/'))}"
        response = self._ask("GET", where, stream=True)

        def write(partial: Path) -> None:
            with partial.open("wb") as file:
                file.writelines(response.iter_content(_BLOCK))

        try:
            if response.status_code != requests.codes.ok:
                raise self._failed(_refused(where, response), response.status_code)
            publish(target, write)
        except requests.RequestException as err:
            raise self._failed(str(err)) from without_secrets(err)

    def _ask(self, method: str, path: str, **how: Any) -> requests.Response:
        try:
            return self._session.request(
                method, self._address + path, timeout=self._seconds, verify=self._verify, **how
            )
        except requests.RequestException as err:
            away = isinstance(err, requests.ConnectionError) and not isinstance(err, requests.exceptions.SSLError)
            raise self._failed("it does not answer." if away else str(err)) from without_secrets(err)

    def _json(self, what: str, response: requests.Response) -> dict[str, Any]:
        answer = _object_of(response, lambda key: self._failed(f"its answer to {what} lacks {key}."))
        if response.status_code == requests.codes.ok and answer is not None:
            return answer
        raise self._failed(_refused(what, response), response.status_code)

    def _failed(self, reason: str, code: int = 0) -> ExternalError:
        kind = PassingError if code in (0, requests.codes.ok, *_PASSING) else ExternalError
        return kind(
            f"The tracking store {redact(self._address)} failed: {redact(first_line(reason))}", hint_for(code)
        )


class _Answer(dict[str, Any]):
    """An object in a server's answer; ``lacks`` makes the error for a key that is not in it."""

    __slots__ = ("_lacks",)

    def __init__(self, found: Mapping[str, Any], lacks: Callable[[str], Exception]) -> None:
        super().__init__(found)
        self._lacks = lacks

    def __missing__(self, key: str) -> Any:
        raise self._lacks(key)


def _object_of(response: requests.Response, lacks: Callable[[str], Exception] = KeyError) -> dict[str, Any] | None:
    """The JSON object that an answer holds; None when it holds anything else."""
    try:
        # Most objects are a metric, a parameter or a tag, of which nothing else must be there than its key.
        answer = response.json(object_hook=lambda found: found if "key" in found else _Answer(found, lacks))
    except requests.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _refused(what: str, response: requests.Response) -> str:
    error = _object_of(response) or {}
    if "error_code" in error:
        return f"{error['error_code']}: {error.get('message', '')}"
    if response.status_code == requests.codes.ok:
        return f"its answer to {what} is not JSON."
    return f"{what} failed with error code {response.status_code}."


def _login() -> dict[str, str]:
    """The header that a login needs, from where MLflow's client takes it."""
    file = configparser.ConfigParser(interpolation=None)
    try:
        file.read(expanded("~/.mlflow/credentials"), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        hint = "It has a line [mlflow], below it mlflow_tracking_username = ... and mlflow_tracking_password = ..."
        raise UsageError("~/.mlflow/credentials is no file of MLflow's.", hint) from None
    kept = dict(file["mlflow"]) if file.has_section("mlflow") else {}
    name, password = (
        os.environ.get(variable) or kept.get(variable.lower())
        for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    )
    if name and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
