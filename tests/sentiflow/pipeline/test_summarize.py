"""The files of a sweep."""

from pathlib import Path

import pandas as pd
import pytest

from sentiflow.pipeline.summarize import recipe_file, write_files
from sentiflow.results import COMPLETE, TrialRow
from sentiflow.training.recipes import TUNED, TUTORIAL, load_recipe


def test_a_searched_number_of_epochs_stands_beside_the_one_that_was_trained(tmp_path: Path) -> None:
    tried = [TrialRow(k, COMPLETE, 0.5, 2 + k, 1.0, {"epochs": 16}, "") for k in range(2)]
    write_files(tmp_path / "new", tried, TUTORIAL, "a sweep")
    table = pd.read_csv(tmp_path / "new" / "trials.csv")
    assert table["epochs"].tolist() == [16, 16] and table["epochs_trained"].tolist() == [2, 3]


@pytest.mark.parametrize("name", ["tuned-best", "mine"])
def test_a_recipe_written_to_a_file_is_the_same_when_read(tmp_path: Path, name: str) -> None:
    """Red if a value that ``tutorial`` has, too, were left out, and then taken from the recipe of the name."""
    config = TUNED.model_copy(update={"recipe": name, "learning_rate": 1.234567890123e-05, "mask_zero": False})
    path = tmp_path / "best.toml"
    path.write_text(recipe_file(config, "The best."))
    assert load_recipe(str(path)) == config
