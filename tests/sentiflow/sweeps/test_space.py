from pathlib import Path

import pytest

from sentiflow.errors import UsageError
from sentiflow.recipes import TUNED, TUTORIAL, TrainConfig, load_recipe
from sentiflow.sweeps.results import recipe_file
from sentiflow.sweeps.space import Choices, Range, load_space


def space_of(tmp_path: Path, text: str, config: TrainConfig = TUNED):  # noqa: ANN201
    path = tmp_path / "space.toml"
    path.write_text(text)
    return load_space(path, config)


def test_a_file_gives_ranges_and_choices_in_its_order(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        "[units]\nlow = 8\nhigh = 32\nstep = 8\n[learning_rate]\nlow = 1e-4\nhigh = 0.01\nlog = true\n"
        "[mask_zero]\nchoices = [true, false]\n",
    )
    assert list(space.fields.items()) == [
        ("units", Range(8, 32, whole=True, step=8)),
        ("learning_rate", Range(1e-4, 0.01, whole=False, log=True)),
        ("mask_zero", Choices((True, False))),
    ]


def test_the_default_space_is_around_tuned_and_keeps_its_parameters() -> None:
    space = load_space(None, TUNED)
    assert space.holds(TUNED) and not space.holds(TUTORIAL)
    assert not {"units", "embedding_size", "vocabulary_size"} & set(space.fields)


def test_a_recipe_between_two_steps_lies_outside(tmp_path: Path) -> None:
    space = space_of(tmp_path, "[units]\nlow = 8\nhigh = 32\nstep = 8\n")
    inside = [units for units in range(1, 40) if space.holds(load_recipe("tuned", [f"units={units}"]))]
    assert inside == [8, 16, 24, 32]


def test_the_digest_is_of_the_values_and_not_of_the_file(tmp_path: Path) -> None:
    one = space_of(tmp_path, "[units]\nlow = 8\nhigh = 32\n[dropout]\nlow = 0\nhigh = 0.5\n")
    other = space_of(
        tmp_path, "# mine\n[dropout]\nhigh = 0.5\nlow = 0\n[units]\nlow = 8\nhigh = 32\nlog = false\n"
    )
    third = space_of(tmp_path, "[units]\nlow = 8\nhigh = 33\n[dropout]\nlow = 0\nhigh = 0.5\n")
    assert one.digest == other.digest != third.digest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no field"),
        ("[unit]\nlow = 1\nhigh = 2", "unknown field 'unit'; did you mean 'units'"),
        (
            "[units]\nlow = 8\nhigh = 2000",
            "units = 2000 is not allowed: input should be less than or equal to 1024",
        ),
        ("[units]\nlow = 8\nhigh = 20\nstep = 5", "step = 5 does not lead from 8 to 20"),
        ("[units]\nlow = 20\nhigh = 8", "low = 20 is not below high = 8"),
        ("[units]\nlow = 1.5\nhigh = 3", "1.5 is not a whole number"),
        ("[units]\nlow = true\nhigh = 3", "True is not a whole number"),
        ("[units]\nlow = 3", r"\[units\] has low"),
        ("[units]\nlow = 3\nhigh = 4\nchoices = [3, 4]", r"\[units\] has low, high, choices"),
        ("units = 3", "units = 3 is no range"),
        ("[units]\nchoices = [8, 8]", "not two or more different values"),
        ('[units]\nchoices = ["8", "16"]', "units = '8' is read as 8"),
        ("[mask_zero]\nlow = 0\nhigh = 1", "mask_zero is no number"),
        ('[optimizer]\nchoices = ["adam", "foo"]', "optimizer = 'foo' is not allowed"),
        ("[learning_rate]\nlow = 0\nhigh = 1\nlog = true", "log = True does not fit"),
        ("[learning_rate]\nlow = 0.1\nhigh = nan", "low = 0.1 is not below high = nan"),
        ('[recipe]\nchoices = ["a", "b"]', "recipe cannot be searched"),
        ("[validation_fraction]\nlow = 0.1\nhigh = 0.3", "validation_fraction cannot be searched"),
        ('[backend]\nchoices = ["numba", "keras"]', "backend = 'keras' has no word_dropout"),
        ("[units", "is not valid TOML"),
    ],
)
def test_what_cannot_be_searched_is_told_with_what_came(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        space_of(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read the search space .*none.toml"):
        load_space(tmp_path / "none.toml", TUNED)


def test_a_recipe_written_to_a_file_is_the_same_when_read(tmp_path: Path) -> None:
    config = TUNED.model_copy(
        update={"recipe": "tuned-best", "learning_rate": 1.234567890123e-05, "mask_zero": False}
    )
    path = tmp_path / "best.toml"
    path.write_text(recipe_file(config, "The best."))
    assert load_recipe(str(path)) == config
