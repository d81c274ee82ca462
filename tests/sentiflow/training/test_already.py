from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.table import DEFAULT_OPTIONS
from sentiflow.store.client import connect
from sentiflow.store.types import Version
from sentiflow.training.already import nothing_to_train, trained_already, training_key
from sentiflow.training.recipes import load_recipe
from tests.world import World


def test_a_training_of_the_same_recipe_data_and_seed_is_found_again(world: World) -> None:
    config = load_recipe("tutorial", [])
    assert trained_already(config, "sample", 4, world.settings, DEFAULT_OPTIONS, "auto") is None  # not prepared
    prepared = prepare(fetch("sample", world.settings), world.settings)
    assert trained_already(config, "sample", 4, world.settings, DEFAULT_OPTIONS, "auto") is None
    client = connect(world.settings)
    client.create_registered_model("sample-sentiment")
    client.create_model_version("sample-sentiment", (world.root / "files").as_uri())
    key = training_key(config, prepared.digest, 4, "none")
    client.set_model_version_tag("sample-sentiment", "1", "training.key", key)
    equal = trained_already(config, "sample", 4, world.settings, DEFAULT_OPTIONS, "auto")
    assert equal == Version("sample-sentiment", 1, "trained already")
    assert "sample-sentiment version 1" in nothing_to_train(equal)
    assert trained_already(config, "sample", 5, world.settings, DEFAULT_OPTIONS, "auto") is None
