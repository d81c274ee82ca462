"""MLflow's documented REST interface, asked without MLflow's client, which takes seconds to import.

Login, certificates, retries and time-outs follow the variables that the client reads.
"""

import base64
import configparser
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlparse

import requests
from requests.adapters import HTTPAdapter, Retry

from sentiment.errors import WorldError
from sentiment.files import publish
from sentiment.settings import Settings, shown

MISSING = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # what is not there; it depends on the store
AT_ONCE = 4  # requests side by side: as many as a server has workers by default
_PASSING = (408, 429, 500, 502, 503, 504)  # answers that may be others a moment later
_BLOCK = 1 << 20
# What only MLflow's own client does: logins by plugins or AWS, workspaces.
_CLIENTS_OWN = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE")
_HEADERS_BY_PLUGIN = "mlflow.request_header_provider"


class MissingError(Exception):
    """What was asked for is not there."""


def suffices(settings: Settings) -> bool:
    """Whether the store is a server that this can ask, or else needs MLflow's own client."""
    over_http = urlparse(settings.tracking_uri).scheme in ("http", "https")
    plain = not any(os.environ.get(name) for name in _CLIENTS_OWN)
    return over_http and plain and not entry_points(group=_HEADERS_BY_PLUGIN)


class ServerApi:
    """A server; every call raises WorldError when it does not answer, and MissingError for what is not there.

    Several threads may ask at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = settings.tracking_uri.rstrip("/")
        self._seconds = float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"))
        self._session = requests.Session()
        self._session.headers.update(_login())
        certificate = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
        trusting = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
        self._verify: bool | str = certificate or not trusting
        self._session.cert = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
        attempts = int(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"))
        retry = Retry(attempts, status_forcelist=_PASSING, allowed_methods=None, backoff_factor=0.5)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=AT_ONCE, max_retries=retry))

    def get(self, what: str, **wanted: str | int) -> dict[str, Any]:
        """The answer to a question without a body, such as ``runs/get``."""
        return self._json(what, self._ask("GET", f"/api/2.0/mlflow/{what}", params=wanted))

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
            raise self._failed(_refused(where, response))

        def write(partial: Path) -> None:
            with partial.open("wb") as file:
                file.writelines(response.iter_content(_BLOCK))

        try:
            publish(target, write)
        except requests.RequestException as err:
            raise self._failed(str(err)) from err

    def _ask(self, method: str, path: str, **how: Any) -> requests.Response:
        try:
            return self._session.request(
                method, self._address + path, timeout=self._seconds, verify=self._verify, **how
            )
        except requests.RequestException as err:
            away = isinstance(err, requests.ConnectionError | requests.exceptions.RetryError)
            away = away and not isinstance(err, requests.exceptions.SSLError)
            raise self._failed("it does not answer." if away else str(err)) from err

    def _json(self, what: str, response: requests.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except requests.JSONDecodeError:
            answer = None
        if response.status_code == requests.codes.ok and isinstance(answer, dict):
            return answer
        if isinstance(answer, dict) and "error_code" in answer:
            told = f"{answer['error_code']}: {answer.get('message', '')}"
            if answer["error_code"] in MISSING:
                raise MissingError(told)
            raise self._failed(told, response.status_code)
        raise self._failed(_refused(what, response), response.status_code)

    def _failed(self, reason: str, code: int = 0) -> WorldError:
        hint = "Is the server running, and is SENTIFLOW_TRACKING_URI right?"
        if code in (401, 403):
            hint = "The server wants a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        first = (reason.strip().splitlines() or [""])[0][:300]
        return WorldError(f"The tracking store {shown(self._address)} failed: {shown(first)}", hint)


def _refused(what: str, response: requests.Response) -> str:
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
