"""An MLflow server's documented REST interface, asked without MLflow's client, which takes seconds to import.

Login, certificates, the number of retries and the time-out follow the variables that the client reads. A request
that creates something is sent once: MLflow knows no idempotency key, and a server that was only slow would carry
out a repeated one as well.
"""

import base64
import configparser
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlparse

import requests
from requests.adapters import HTTPAdapter, Retry

from sentiflow.environment import expanded
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.files import publish
from sentiflow.redaction import redact, without_secrets
from sentiflow.store.records import HTTP, MISSING, hint_for

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_PASSING = (408, 429, 500, 502, 503, 504)  # answers that may be others a moment later: a proxy's, a busy server's
_BLOCK = 1 << 20
_CREATION_SECONDS = 120.0  # until the answer to a creation must have come

Pairs = Mapping[str, str]


def create_run(client: "MlflowClient", experiment: str, tags: Pairs, name: str) -> str:
    """Make a run; gives its id. When a server does not answer, it may have been made all the same."""
    if not _is_server(client):
        return str(client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id)
    now = int(time.time() * 1000)
    body = {"experiment_id": experiment, "run_name": name, "start_time": now, "tags": _listed(tags)}
    return str(Api(client.tracking_uri, creates=True).post("runs/create", body)["run"]["info"]["run_id"])


def create_model(
    client: "MlflowClient", experiment: str, name: str, run_id: str, tags: Pairs, params: Pairs
) -> "LoggedModel":
    """Make a model of a run, see ``create_run``."""
    if not _is_server(client):
        return client.create_logged_model(experiment, name, run_id, dict(tags), dict(params))
    body: dict[str, Any] = {"experiment_id": experiment, "name": name, "source_run_id": run_id}
    body |= {"tags": _listed(tags), "params": _listed(params)}
    made = Api(client.tracking_uri, creates=True).post("logged-models", body)["model"]
    return client.get_logged_model(made["info"]["model_id"])


def create_version(
    client: "MlflowClient", name: str, run_id: str, model_id: str, tags: Pairs, description: str
) -> "ModelVersion":
    """Make the one version of a run, see ``create_run``."""
    source = f"models:/{model_id}"
    if not _is_server(client):
        return client.create_model_version(name, source, run_id, dict(tags), None, description, model_id=model_id)
    body = {"name": name, "source": source, "run_id": run_id, "model_id": model_id, "description": description}
    made = Api(client.tracking_uri, creates=True).post("model-versions/create", {**body, "tags": _listed(tags)})
    return client.get_model_version(name, made["model_version"]["version"])


def _is_server(client: "MlflowClient") -> bool:
    return urlparse(client.tracking_uri).scheme in ("http", "https")


def _listed(values: Pairs) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


class Api:
    """A server; every call raises ExternalError when it does not answer, or not with what was asked for.

    Several threads may ask at once. A request is repeated as often as by MLflow's client; one that ``creates`` is
    sent once, though there may be several tries to connect, and its answer has two minutes.
    """

    def __init__(self, address: str, *, creates: bool = False) -> None:
        self._address = address.rstrip("/")
        retries, seconds = (os.environ.get(name, default) for name, default in HTTP.items())
        try:
            self._seconds = float(seconds), _CREATION_SECONDS if creates else float(seconds)
            tries, again = int(retries), 0 if creates else None
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
            tries, read=again, status=again, other=again, status_forcelist=_PASSING, allowed_methods=None,
            backoff_factor=2.0 if creates else 0.5, raise_on_status=False,  # the last answer says more
            respect_retry_after_header=False,  # no hour's wait
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def get(self, what: str, **wanted: str | int) -> dict[str, Any]:
        """The answer to a question without a body, such as ``runs/get``."""
        return self._json(what, self._ask("GET", f"/api/2.0/mlflow/{what}", params=wanted))

    def find(self, what: str, **wanted: str | int) -> dict[str, Any] | None:
        """The answer to a question like ``get``'s, or None where there is no such thing."""
        response = self._ask("GET", f"/api/2.0/mlflow/{what}", params=wanted)
        if response.status_code != requests.codes.ok and (_object_of(response) or {}).get("error_code") in MISSING:
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
        """Names of the files in a folder that the server itself hands out."""
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
        answer = _object_of(response)
        if response.status_code == requests.codes.ok and answer is not None:
            return answer
        raise self._failed(_refused(what, response), response.status_code)

    def _failed(self, reason: str, code: int = 0) -> ExternalError:
        message = f"The tracking store {redact(self._address)} failed: {redact(first_line(reason))}"
        return ExternalError(message, hint_for(code))


def _object_of(response: requests.Response) -> dict[str, Any] | None:
    """The JSON object that an answer holds; None when it holds anything else."""
    try:
        answer = response.json()
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
