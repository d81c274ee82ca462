from collections.abc import Iterator

import httpx
import pytest

from sentiflow.scoring import TextScorer
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running
from tests.world import Trained


@pytest.fixture(scope="session")
def served(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service for all tests that only ask; version 1 is its champion."""
    world, client = service.copied(trained, tmp_path_factory.mktemp("served"))
    service.promote(client, 1)
    with service.running(world) as running:
        yield running


@pytest.fixture
def http(served: Running) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


@pytest.fixture(scope="session")
def scorer(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> TextScorer:
    """What the champion scores with, loaded from its files."""
    _, client = service.copied(trained, tmp_path_factory.mktemp("scorer"))
    return service.scorer_of(client, 1)
