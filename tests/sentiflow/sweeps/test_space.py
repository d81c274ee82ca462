from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sentiflow.errors import UsageError
from sentiflow.sweeps.space import load_space
from sentiflow.training.recipes import TUNED, TUTORIAL, TrainConfig, load_recipe


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
        ("units", IntDistribution(8, 32, step=8)),
        ("learning_rate", FloatDistribution(1e-4, 0.01, log=True)),
        ("mask_zero", CategoricalDistribution((True, False))),
    ]


def test_the_default_space_is_around_tuned_and_keeps_its_parameters() -> None:
    space = load_space(None, TUNED)
    assert space.outside(TUNED) == {}
    assert space.outside(TUTORIAL).items() >= {"vocabulary_dropout": 0.0, "ema_momentum": 0.0}.items()
    assert not {"units", "embedding_size", "vocabulary_size"} & set(space.fields)


def test_a_recipe_between_two_steps_lies_outside(tmp_path: Path) -> None:
    space = space_of(tmp_path, "[units]\nlow = 8\nhigh = 32\nstep = 8\n")
    inside = [units for units in range(1, 40) if not space.outside(load_recipe("tuned", [f"units={units}"]))]
    assert inside == [8, 16, 24, 32]


def test_the_digest_is_of_the_values_and_not_of_the_file(tmp_path: Path) -> None:
    one = space_of(tmp_path, "[units]\nlow = 8\nhigh = 32\n[dropout]\nlow = 0\nhigh = 0.5\n")
    other = space_of(
        tmp_path, "# mine\n[dropout]\nhigh = 0.5\nlow = 0\n[units]\nlow = 8\nhigh = 32\nlog = false\n"
    )
    third = space_of(tmp_path, "[units]\nlow = 8\nhigh = 33\n[dropout]\nlow = 0\nhigh = 0.5\n")
    assert one.digest == other.digest != third.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no field"),
        ("[unit]\nlow = 1\nhigh = 2", "unit is not a field of a recipe; did you mean 'units'"),
        ("[lr]\nlow = 1\nhigh = 2", "lr is not a field of a recipe; did you mean 'learning_rate'"),
        (
            "[units]\nlow = 8\nhigh = 2000",
            "units = 2000 is not allowed: Input should be less than or equal to 1024",
        ),
        ("[units]\nlow = 20\nhigh = 8", "units: .*low.*high"),
        (
            "[units]\nlow = 1.5\nhigh = 3",
            r"space\.toml: units = 1.5 is not allowed: Input should be a valid integer",
        ),
        ("[units]\nlow = 8\nhigh = 11\nstep = 1.5", "units = 9.5 is not allowed"),
        ("[units]\nlow = 3\nhigh = 4\nchoices = [3, 4]", "units: .*'low'"),
        ("units = 3", "units = 3 is no table"),
        ('[units]\nchoices = ["8", "few"]', "units = 'few' is not allowed: Input should be a valid integer"),
        ("[mask_zero]\nlow = 0\nhigh = 1", "mask_zero is not a number"),
        ('[optimizer]\nchoices = ["adam", "foo"]', "optimizer = 'foo' is not allowed"),
        ("[learning_rate]\nlow = 0\nhigh = 1\nlog = true", "learning_rate: .*low"),
        ('[recipe]\nchoices = ["a", "b"]', "recipe cannot be searched"),
        ("[units", "is not valid TOML"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_its_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        space_of(tmp_path, text)
