"""Tests of the recipes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from sentiflow.errors import UsageError
from sentiflow.training.open_run import _parameters
from sentiflow.training.recipes import RECIPES, TUNED, TrainConfig, load_recipe


def write(folder: Path, content: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_seed_is_the_tutorials_recipe() -> None:
    expected = {
        "recipe": "tutorial",
        "vocabulary_size": 10_000,
        "sequence_length": 500,
        "embedding_size": 64,
        "units": 32,
        "optimizer": "rmsprop",
        "learning_rate": 0.001,
        "batch_size": 128,
        "epochs": 5,
        "validation_fraction": 0.2,
    }
    assert {key: value for key, value in load_recipe().model_dump().items() if key in expected} == expected


def test_overrides_are_read_as_the_fields_types() -> None:
    config = load_recipe("tutorial", ["epochs=1", "learning_rate = 1e-2", "optimizer=adam"])
    assert (config.epochs, config.learning_rate, config.optimizer) == (1, 0.01, "adam")


def test_a_file_may_name_its_recipe(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "recipe = 'other'\nepochs = 2\n")).recipe == "other"
    of_tuned = load_recipe(write(tmp_path, "recipe = 'tuned'\nepochs = 2\n"))
    assert of_tuned == load_recipe("tuned", ["epochs=2"])


def test_a_file_with_the_name_of_a_built_in_recipe_says_which_it_is(tmp_path: Path) -> None:
    """Red if a run were listed as `tuned` that was trained with the fields of `tutorial`."""
    file = tmp_path / "tuned.toml"
    file.write_text("epochs = 12\n")
    with pytest.raises(UsageError, match="has the name of a built-in recipe") as caught:
        load_recipe(str(file))
    assert "--recipe tuned --set" in caught.value.hint
    file.write_text('recipe = "mine"\nepochs = 12\n')
    assert load_recipe(str(file)).recipe == "mine"


@pytest.mark.parametrize(
    "changes", [[], ["epochs=2"], ["fit_to_table=epochs"], ["optimizer=sgd", "deterministic=false"]]
)
@pytest.mark.parametrize("name", RECIPES)
def test_a_name_and_what_differs_make_the_same_recipe_again(name: str, changes: list[str]) -> None:
    made = load_recipe(name, changes)
    short = made.short()
    assert TrainConfig(**short) == made
    if "fit_to_table=epochs" not in changes:
        assert len(short) == 1 + len(changes)
    logged = _parameters(SimpleNamespace(config=made, seed=0, build=None, fields=made.model_dump))  # type: ignore[arg-type]
    assert TrainConfig(**{field: str(value) for field, value in logged.items() if field != "seed"}) == made
    assert logged.get("fit_to_table") == (", ".join(made.fit_to_table) or None)


def test_a_name_of_nobody_s_recipe_makes_none() -> None:
    """Red if the form of a training took a wrong name for a new one."""
    with pytest.raises(ValidationError, match="no recipe is named 'tunned'"):
        TrainConfig(recipe="tunned")


def test_a_form_shows_the_fields_in_order_and_leaves_them_empty() -> None:
    fields = TrainConfig.model_json_schema()["properties"]
    assert sorted(fields, key=lambda name: fields[name]["position"]) == list(TrainConfig.model_fields)
    assert not [name for name, field in fields.items() if "default" in field]
    assert fields["recipe"]["anyOf"][0]["enum"] == list(RECIPES)


def test_changes_of_ones_own_recipe_are_against_the_most_similar_one(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "units = 8\n")).changes() == {"units": 8}
    near_tuned = TUNED.model_copy(update={"recipe": "mine", "epochs": 20})
    assert near_tuned.changes() == {"epochs": 20}


def refused(name: str = "tutorial", overrides: tuple[str, ...] = ()) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_recipe(name, overrides)
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize("override", ["epochs", "=3", " =3", ""])
def test_an_override_that_is_no_pair_is_shown(override: str) -> None:
    assert f"expects key=value, got {override!r}" in str(refused("tutorial", (override,)))


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("epochs=0", "epochs = '0' is not allowed: Input should be greater than or equal to 1"),
        ("epochs=many", "epochs = 'many' is not allowed: Input should be a valid integer"),
        ("vocabulary_size=3", "greater than or equal to 4"),
        ("learning_rate=0", "greater than 0"),
        ("learning_rate=nan", "learning_rate = 'nan' is not allowed: Input should be a finite number"),
        ("validation_fraction=1", "less than 1"),
        ("optimizer=lion", "Input should be 'rmsprop', 'adam' or 'sgd'"),
    ],
)
def test_a_value_that_is_not_allowed_is_shown_with_the_rule(override: str, part: str) -> None:
    assert part in str(refused("tutorial", (override,)))


def test_all_fields_that_are_wrong_are_named() -> None:
    error = refused("tutorial", ("units=-1", "dropout=3", "epoch=1"))
    assert str(error.args[0]).count("is not allowed") == 2 and "unknown field 'epoch'" in str(error)
    assert [line.partition(":")[0] for line in error.hint.splitlines()] == [
        "units",
        "dropout",
        "Did you mean epochs?",
    ]


def test_an_unknown_field_of_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[training]\nepochs = 2\n")
    assert f"Recipe {path!r}: unknown field 'training'" in str(refused(path))


def test_fields_to_fit_may_be_a_text_and_what_is_set_is_not_fitted(tmp_path: Path) -> None:
    file = write(tmp_path, 'fit_to_table = "epochs batch_size"\n')
    assert load_recipe(file).fit_to_table == ("epochs", "batch_size")
    assert load_recipe(file, ["epochs=2"]).fit_to_table == ("batch_size",)


def test_a_value_in_place_of_a_rule_is_a_change_whatever_it_is() -> None:
    """Red if a run with 500 ids set is listed as the unchanged recipe, whose rule gives 27."""
    assert load_recipe("fitted").changes() == {}
    assert load_recipe("fitted", ["sequence_length=500"]).changes() == {"sequence_length": 500}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"epochs: 2", "is not valid TOML"),
        ("recipe = 'é'".encode("latin-1"), "is not valid TOML"),
        (None, "Is a dir"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: bytes | None, part: str) -> None:
    file = tmp_path / "mine.toml"
    file.mkdir() if content is None else file.write_bytes(content)
    assert part in str(refused(str(file)))
    assert "No such file" in str(refused("nowhere.toml"))


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ("backend=keras dropout=0.5", "has no vocabulary_dropout, dropout, global_clipnorm"),
        ("backend=keras ensemble_size=2", "would train an ensemble as one network"),
        ("pooling=mean", "of words alone: set mask_zero to true"),
        ("bidirectional=true", "of words alone: set mask_zero to true"),
        ("pooling=mixed mask_zero=true", "set ensemble_size to 2 or more"),
        ("epoch=3", "Did you mean epochs?"),
        ("max_features=5000", "Did you mean vocabulary_size?"),
        ("zzz=3", "Fields: recipe, vocabulary_size, "),
    ],
)
def test_fields_that_do_not_go_together_or_do_not_exist_are_refused(fields: str, part: str) -> None:
    assert part in str(refused("tutorial", tuple(fields.split())))
