"""Tests that no address which is stored or shown carries a login."""

import sqlite3
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_UI_API_URL,
    PREFECT_UI_URL,
    temporary_settings,
)
from sqlalchemy.exc import OperationalError

from sentiflow.data.prepare import fetch, prepare
from sentiflow.errors import ExternalError
from sentiflow.operations.prefect_server import flow_run_url
from sentiflow.settings import Settings
from sentiflow.store.client import OpenRun, connect, experiment_id, tracking_errors
from sentiflow.store.ui import ui_url
from sentiflow.training.context import log_dataset
from tests.world import World

LOGIN = "http://me:S3CRET@mlflow.example:5000/base"


@pytest.mark.parametrize(
    "settings",
    [{"tracking_uri": LOGIN}, {"ui_url": LOGIN}, {"tracking_uri": f"{LOGIN}?token=S3CRET"}],
    ids=["store", "ui", "query"],
)
def test_links_to_mlflow_carry_no_login(settings: dict[str, str]) -> None:
    assert ui_url(Settings(**settings)) == "http://mlflow.example:5000/base"


@pytest.mark.parametrize(
    "settings",
    [
        {PREFECT_API_URL: "https://me:S3CRET@prefect.example/api"},
        {PREFECT_API_URL: "http://prefect:4200/api", PREFECT_UI_URL: "https://me:S3CRET@prefect.example"},
        {PREFECT_API_URL: "http://prefect:4200/api", PREFECT_SERVER_UI_API_URL: "https://prefect.example/api"},
    ],
    ids=["api", "ui", "server"],
)
def test_links_to_prefect_lead_where_its_pages_are_and_carry_no_login(settings: dict[Any, Any]) -> None:
    with temporary_settings(settings):
        assert flow_run_url("1") == "https://prefect.example/v2/runs/flow-run/1"


@pytest.mark.parametrize("error", [MlflowException, lambda text: OperationalError("select", {}, Exception(text))])
def test_what_a_library_says_of_the_store_is_redacted_down_to_the_traceback(error: object) -> None:
    secret = "S3CRET"
    address = f"postgresql://me:{secret}@db/mlflow"  # not in the lines that a traceback shows
    with pytest.raises(ExternalError) as caught, tracking_errors(address):
        try:
            raise ConnectionError(f"no answer from {address}")
        except ConnectionError as cause:
            raise error(f"cannot use {address}?password={secret}") from cause
    told = "".join(traceback.format_exception(caught.value))
    assert "S3CRET" not in told
    assert "postgresql://***@db/mlflow" in str(caught.value)


def test_the_dataset_of_a_run_does_not_tell_the_mirrors_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fetch("sample", world.settings)
    address = "http://me:S3CRET@mirror.example/imdb.npz?token=S3CRET"
    settings = world.settings.model_copy(
        update={f"{name}_{of}": value for name in ("imdb", "word_index") for of, value in
                (("url", address), ("sha256", "ab" * 32))}
    )  # fmt: skip
    monkeypatch.setattr("sentiflow.data.imdb.fetch_file", lambda *_a, **_k: True)
    monkeypatch.setattr("sentiflow.data.inputs.digest_of", lambda _files: source.digest)
    origin = fetch("imdb", settings)
    assert origin.origin == " and ".join(["http://***@mirror.example/imdb.npz?***"] * 2)
    client = connect(world.settings)
    run = client.create_run(experiment_id(client, world.settings))
    prepared = replace(prepare(source, world.settings), origin=origin.origin)
    log_dataset(OpenRun(run.info.run_id, "mine", run.info.experiment_id, world.settings), prepared)
    file = Path(world.settings.sqlite_file or "")
    with sqlite3.connect(file) as store:
        sources = [row[0] for row in store.execute("select dataset_source from datasets")]
    assert len(sources) == 2
    assert all("mirror.example" in text for text in sources)
    assert b"S3CRET" not in file.read_bytes()
