"""Tests of loading what a registered version scores with."""

from pathlib import Path

import numpy as np
import pytest

from sentiflow.errors import ExternalError
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.store.client import connect
from sentiflow.store.types import Version
from sentiflow.store.versions import load_scorer
from tests.world import World


@pytest.fixture
def version(world: World, tmp_path: Path) -> Version:
    rng = np.random.default_rng(1)
    shapes = (8, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    weights = Weights(*(rng.normal(0, 0.8, shape).astype(np.float32) for shape in shapes))
    (tmp_path / "artifacts").mkdir()
    TextScorer(weights, Vocabulary(("good", "bad", "film")), 6).save(tmp_path / "artifacts")
    client = connect(world.settings)
    client.create_registered_model("imdb-sentiment")
    client.create_model_version("imdb-sentiment", source=tmp_path.as_uri())
    return Version("imdb-sentiment", 1, "newest")


def test_a_version_of_this_machine_is_loaded(version: Version, world: World) -> None:
    assert load_scorer(world.settings, version).score(["good film"]).shape == (1,)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scorer.json", b"[]"),
        ("scorer.json", b"[" * 100_000),
        ("scorer.json", b'{"format": 3, "sequence_length": 1e9}'),
        ("vocabulary.json", b"null"),
        ("vocabulary.json", b"\xff"),
        ("weights.npz", b"PK"),
        ("weights.npz", None),
    ],
)
def test_broken_files_are_told_with_the_version_and_the_way_on(
    version: Version, world: World, tmp_path: Path, name: str, content: bytes | None
) -> None:
    """Exit code 3, not 1: the version is broken, not this code."""
    path = tmp_path / "artifacts" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ExternalError, match="Cannot load imdb-sentiment version 1: ") as caught:
        load_scorer(world.settings, version)
    assert (caught.value.exit_code, caught.value.hint) == (
        3,
        "Choose another with --model-version, or train again.",
    )
