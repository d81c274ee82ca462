import re

from typer.main import get_command

from flows.cli.app import app
from sentiflow.recipes import RECIPES, TrainConfig
from sentiflow.settings import PREFIX, Settings
from tests.world import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_names_every_setting_and_no_other() -> None:
    told = set(re.findall(rf"^\| `({PREFIX}\w+)` \|", README, re.MULTILINE))
    assert told == {PREFIX + field.upper() for field in Settings.model_fields}


def test_the_recipes_table_gives_every_field_its_value_in_each_recipe() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \|", README, re.MULTILINE)
    told = {field: values for field, *values in rows if field in TrainConfig.model_fields}
    fields = [field for field in TrainConfig.model_fields if field != "recipe"]
    assert told == {field: [str(getattr(recipe, field)) for recipe in RECIPES.values()] for field in fields}


def test_every_command_of_the_readme_exists_with_its_options() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in re.findall(r"^sentiflow .*?(?=  #|$)", README, re.MULTILINE):
        name, options = line.split()[1], re.findall(r"--[\w-]+", line)
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(options) <= known, line


def test_every_make_target_of_the_documents_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^make ([\w-]+)", documents, re.MULTILINE)) <= targets


def test_the_tree_names_folders_that_exist() -> None:
    tree = README.split("## Where things are")[1].split("```")[1]
    for name in re.findall(r"^(\w+)/ ", tree, re.MULTILINE):
        assert (ROOT / name).is_dir() or name == "data", name
