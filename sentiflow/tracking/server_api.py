"""MLflow's documented REST interface, asked without MLflow's client, which takes seconds to import.

Login, certificates, the number of retries and the time-out follow the variables that the client reads.
"""

import base64
import configparser
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlparse

import requests
from requests.adapters import HTTPAdapter, Retry

from sentiflow.errors import WorldError
from sentiflow.files import publish
from sentiflow.output import redact, without_secrets
from sentiflow.settings import Settings
from sentiflow.tracking.types import MISSING

# MLflow's own 7 retries of 120 s would wait four minutes for a dead server.
HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
WANTS_LOGIN = "The server wants a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
IS_IT_RUNNING = "Is the server running, and is SENTIFLOW_TRACKING_URI right?"
AT_ONCE = 4  # requests side by side: as many as a server has workers by default
_PASSING = (408, 429, 500, 502, 503, 504)  # answers that may be others a moment later
_BLOCK = 1 << 20
# What only MLflow's own client does: logins by plugins or AWS, workspaces.
_CLIENTS_OWN = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE")
_HEADERS_BY_PLUGIN = "mlflow.request_header_provider"


def suffices(settings: Settings) -> bool:
    """Whether the store is a server that this can ask, or else needs MLflow's own client."""
    over_http = urlparse(settings.tracking_uri).scheme in ("http", "https")
    plain = not any(os.environ.get(name) for name in _CLIENTS_OWN)
    return over_http and plain and not entry_points(group=_HEADERS_BY_PLUGIN)


class ServerApi:
    """A server; every call raises WorldError when it does not answer, or not with what was asked for.

    Several threads may ask at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = settings.tracking_uri.rstrip("/")
        attempts, seconds = (os.environ.get(name, default) for name, default in HTTP.items())
        self._seconds = float(seconds)
        self._session = requests.Session()
        self._session.headers.update(_login())
        certificate = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
        trusting = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
        self._verify: bool | str = certificate or not trusting
        self._session.cert = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
        retry = Retry(
            int(attempts), status_forcelist=_PASSING, allowed_methods=None, backoff_factor=0.5,
            raise_on_status=False, respect_retry_after_header=False,  # the last answer says more; no hour's wait
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=AT_ONCE, max_retries=retry))

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

    def pages(self, what: str, key: str, **wanted: str | int) -> Iterator[Any]:
        """Everything under a key of the answers to ``get``, page by page."""
        token = None
        while token is None or token:
            page = self.get(what, **wanted, **({"page_token": token} if token else {}))
            yield from page.get(key, ())
            token = page.get("next_page_token", "")

    def download(self, path: str, target: Path) -> None:
        """Fetch an artifact that the server itself keeps into a file, whole or not at all."""
        where = f"/api/2.0/mlflow-artifacts/artifacts/{quote(path.strip('/'))}"
        response = self._ask("GET", where, stream=True)
        if response.status_code != requests.codes.ok:
            raise self._failed(_refused(where, response), response.status_code)

        def write(partial: Path) -> None:
            with partial.open("wb") as file:
                file.writelines(response.iter_content(_BLOCK))

        try:
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

    def _failed(self, reason: str, code: int = 0) -> WorldError:
        hint = WANTS_LOGIN if code in (401, 403) else IS_IT_RUNNING
        first = (reason.strip().splitlines() or [""])[0][:300]
        return WorldError(f"The tracking store {redact(self._address)} failed: {redact(first)}", hint)


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
    file.read(Path("~/.mlflow/credentials").expanduser())
    kept = dict(file["mlflow"]) if file.has_section("mlflow") else {}
    name, password = (
        os.environ.get(variable) or kept.get(variable.lower())
        for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    )
    if name and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
