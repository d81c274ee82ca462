"""Promotion through a real MLflow server, its artifacts proxied."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.train import train
from sentiflow.promotion import switch
from sentiflow.promotion.history import history_of
from sentiflow.settings import load_settings
from sentiflow.store.client import connect
from sentiflow.training.recipes import load_recipe
from tests.mlflow_store import champion_of
from tests.servers import mlflow
from tests.world import World

NAME = "sample-sentiment"
QUICK = ["epochs=1", "sequence_length=80"]


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server over this test's own store; the settings lead there."""
    arguments = ["server", "--workers", "1", "--backend-store-uri", world.settings.tracking_uri]
    arguments += ["--artifacts-destination", str(world.root / "served")]
    with mlflow(arguments, world.root, "/health") as address:
        monkeypatch.setenv("SENTIFLOW_TRACKING_URI", address)
        yield address


@pytest.mark.story
def test_two_versions_are_trained_evaluated_promoted_and_rolled_back(server: str, prefect_server: None) -> None:
    settings = load_settings()
    for seed in (1, 2):
        train(load_recipe("tutorial", QUICK), "sample", seed)
    for version in (1, 2):
        switch.promote(NAME, version, settings, force=True, reason="over http")
    client = connect(settings)
    assert champion_of(client, NAME) == 2
    switch.rollback(NAME, "back", settings)
    events, champion = history_of(NAME, settings)
    assert champion == champion_of(client, NAME) == 1
    assert [(event.kind, event.version, event.replaced) for event in events] == [
        ("promotion", 1, None), ("promotion", 2, 1), ("rollback", 1, 2),
    ]  # fmt: skip
    location = client.get_model_version_download_uri(NAME, "1")
    assert location.startswith("mlflow-artifacts:") and not Path(location).exists()
