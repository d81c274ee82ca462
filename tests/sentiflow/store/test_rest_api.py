"""Asking an MLflow server without MLflow's client: logins, and what is no answer."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from sentiflow.errors import ExternalError, UsageError
from sentiflow.settings import Settings
from sentiflow.store.client import connect
from sentiflow.store.find import open_store
from sentiflow.store.http import Api
from sentiflow.store.rest import ServerStore
from tests import servers

LOGIN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"


class Answer(BaseHTTPRequestHandler):
    """Answers everything alike, and keeps the login that came."""

    status, body, length = 200, b"{}", 2
    logins: list[str | None] = []

    def do_GET(self) -> None:
        Answer.logins.append(self.headers["Authorization"])
        self.send_response(Answer.status)
        self.send_header("Content-Length", str(Answer.length))
        self.end_headers()
        self.wfile.write(Answer.body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(status: int, body: str, length: int | None = None) -> Iterator[str]:
    Answer.status, Answer.body, Answer.logins = status, body.encode(), []
    Answer.length = len(Answer.body) if length is None else length
    with servers.http(Answer) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("status", "body", "told", "hint"),
    [
        (401, "You are not authenticated", "error code 401", "MLFLOW_TRACKING_PASSWORD"),
        (403, "Permission denied", "error code 403", "This account may not do that"),
        (404, "<html>", "error code 404", "SENTIFLOW_TRACKING_URI"),
        (200, "<html>another page", "is not JSON", "SENTIFLOW_TRACKING_URI"),
        (400, '{"error_code": "BAD", "message": "too odd"}', "BAD: too odd", "SENTIFLOW_TRACKING_URI"),
        (503, "", "error code 503", "Is the server running"),
        (500, '{"error_code": "INTERNAL_ERROR", "message": "it is locked"}', "it is locked", "running"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_with_a_way_out(status: int, body: str, told: str, hint: str) -> None:
    with answering(status, body) as address, pytest.raises(ExternalError, match=told) as caught:
        open_store(Settings(tracking_uri=address)).runs()
    assert hint in caught.value.hint


def test_what_an_answer_leaves_out_because_it_is_zero_is_read_as_zero() -> None:
    """As servers do that write proto3 JSON."""
    data = {"metrics": [{"key": "test/loss"}], "params": [{"key": "empty"}]}
    run = {"info": {"run_id": "a", "status": "FINISHED", "lifecycle_stage": "active"}, "data": data}
    body = json.dumps({"run": run, "model_version": {"version": "1"}, "metrics": data["metrics"]})
    with answering(200, body) as address:
        store = open_store(Settings(tracking_uri=address))
        record, version = store.record("a"), store.version("m", 1)
        assert store.history("a") == {}  # one point, at step 0
    assert (record.metrics, record.params) == ({"test/loss": 0.0}, {"empty": ""})
    assert version is not None and record.started == version.registered == datetime(1970, 1, 1, tzinfo=UTC)


def test_an_error_answer_that_breaks_off_is_a_failure_of_the_server(tmp_path: Path) -> None:
    broken = answering(404, "no such", length=1_000)
    with broken as address, pytest.raises(ExternalError, match="The tracking store .* failed"):
        Api(address).download("1/model/weights.npz", tmp_path / "weights.npz")


@pytest.mark.parametrize("name", ["../../../evil", "/{root}/evil", "..", "a/../../../../evil"])
def test_a_file_that_a_server_lists_outside_of_the_folder_is_not_written(tmp_path: Path, name: str) -> None:
    listed = name.replace("/{root}", str(tmp_path))
    body = json.dumps({"artifact_uri": "mlflow-artifacts:/1/model", "files": [{"path": listed}]})
    folder = tmp_path / "one" / "two" / "three"
    with answering(200, body) as address, pytest.raises(ExternalError, match="lists a file outside of the folder"):
        open_store(Settings(tracking_uri=address)).version_files("m", 1, folder)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("run_id", ["../../evil", "/tmp/evil", "$(id)", ""])
def test_a_run_whose_id_could_name_a_folder_or_a_command_is_refused(run_id: str) -> None:
    run = {"info": {"run_id": run_id, "status": "FINISHED", "lifecycle_stage": "active"}}
    with (
        answering(200, json.dumps({"run": run})) as address,
        pytest.raises(ExternalError, match="which is not valid"),
    ):
        open_store(Settings(tracking_uri=address)).record("a")


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(ExternalError) as caught:
        open_store(Settings(tracking_uri="http://me:secret@127.0.0.1:9")).runs()
    assert str(caught.value.args[0]) == "The tracking store http://***@127.0.0.1:9 failed: it does not answer."


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, None),
        ({LOGIN[0]: "me", LOGIN[1]: "pass:word"}, "Basic " + base64.b64encode(b"me:pass:word").decode()),
        ({LOGIN[2]: "token"}, "Bearer token"),
        ({LOGIN[0]: "me", LOGIN[1]: "p", LOGIN[2]: "token"}, "Basic " + base64.b64encode(b"me:p").decode()),
        ({"file": "me kept%1"}, "Basic " + base64.b64encode(b"me:kept%1").decode()),
        ({"file": "me kept", LOGIN[1]: "p"}, "Basic " + base64.b64encode(b"me:p").decode()),
    ],
)
def test_a_login_goes_along_as_mlflows_client_sends_it(
    variables: dict[str, str], sent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    if "file" in variables:
        name, password = variables.pop("file").split()
        (tmp_path / ".mlflow").mkdir()
        text = f"[mlflow]\nmlflow_tracking_username = {name}\nmlflow_tracking_password = {password}\n"
        (tmp_path / ".mlflow" / "credentials").write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with answering(200, '{"experiment": {"experiment_id": "1"}}') as address:
        ServerStore(Settings(tracking_uri=address))._experiment  # noqa: B018
    assert Answer.logins == [sent]


@pytest.mark.parametrize("start", [open_store, connect], ids=["to read", "to write"])
def test_a_database_without_a_server_is_refused_with_the_way_out(start: Callable[[Settings], object]) -> None:
    with pytest.raises(UsageError, match=r"postgresql://.*@127.0.0.1/mlflow is neither") as caught:
        start(Settings(tracking_uri="postgresql://me:secret@127.0.0.1/mlflow"))
    assert "secret" not in str(caught.value) and "mlflow server --backend-store-uri" in caught.value.hint
