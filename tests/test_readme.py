"""What the README and the pages of docs say of the code."""

import re
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from docs import notebook
from docs.pages import all_options, with_settings
from flows.cli.main import application
from sentiflow.scoring.vocabulary import FILTERED, tokenize
from sentiflow.settings import PREFIX, Settings
from sentiflow.training.recipes import RECIPES, TrainConfig
from tests.world import ROOT

DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
}
RECIPES_PAGE = DOCUMENTS["docs/recipes.md"]


def test_the_page_of_the_settings_has_each_as_the_code_has_it() -> None:
    page = DOCUMENTS["docs/settings.md"]
    assert page == with_settings(page), "`make docs` writes it again"
    told = re.findall(rf"^\| `({PREFIX}\w+)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted(PREFIX + field.upper() for field in Settings.model_fields)


def test_the_notebooks_are_their_pages() -> None:
    for page in notebook.PAGES:
        written = notebook.written(page.read_text(encoding="utf-8"))
        assert page.with_suffix(".ipynb").read_text(encoding="utf-8") == written, "`make docs` writes it again"


def test_the_site_has_each_command_with_the_options_of_its_help() -> None:
    site = dict(re.findall(r"^### (\w+)$(.*?)(?=^##|\Z)", all_options(), re.MULTILINE | re.DOTALL))
    assert set(site) == set(get_command(application()).commands)  # type: ignore[attr-defined]
    for name, text in site.items():
        shown = CliRunner().invoke(application(), [name, "--help"]).stdout.partition("Examples:")[0]
        assert (
            {"--debug", "--help"}
            <= set(re.findall(r"(?<= )--[\w-]+", shown))
            <= set(re.findall(r"--[\w-]+", text))
        )


def test_the_page_of_words_shows_what_texts_are_read_as() -> None:
    examples = re.findall(r"^\| `(.+)` \| `(.+)` \|$", DOCUMENTS["docs/words.md"], re.MULTILINE)
    assert len(examples) > 10
    assert {text: " ".join(tokenize(text)) for text, _ in examples} == dict(examples)
    assert f"Each of ``{FILTERED.rstrip()}``" in DOCUMENTS["docs/words.md"]


def cell(recipe: TrainConfig, field: str) -> str:
    value = "*by rule*" if field in recipe.fit_to_table else getattr(recipe, field)
    return (", ".join(value) or "-") if isinstance(value, tuple) else str(value)


def test_the_recipes_table_gives_every_field_its_value_in_each_recipe_and_what_it_means() -> None:
    rows = re.findall(rf"^\| `(\w+)` {'[|] (.+?) ' * len(RECIPES)}[|] (.+) \|$", RECIPES_PAGE, re.MULTILINE)
    told = {field: rest for field, *rest in rows if field in TrainConfig.model_fields}
    assert told == {
        field: [*(cell(each, field) for each in RECIPES.values()), f"{about.description}".rstrip(".")]
        for field, about in TrainConfig.model_fields.items()
        if field != "recipe"
    }


def test_the_results_of_the_readme_are_those_of_the_measured_table() -> None:
    told = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| (\S+%) \| (\S+ points) \| (\d+ s) \|$", DOCUMENTS["README.md"], re.MULTILINE
    )
    measured = re.findall(
        r"^\| `(\w+)` \| [\d., ]+% \| (\S+%) \| (\S+ points) \|.* \| (\d+ s) \|$", RECIPES_PAGE, re.MULTILINE
    )
    assert sorted(told) == sorted(measured)
    assert {recipe for recipe, *_ in told} == set(RECIPES) - {"fitted"}  # docs/own-tables.md has its results


def test_every_command_of_the_documents_exists_with_its_options() -> None:
    commands = get_command(application()).commands  # type: ignore[attr-defined]
    found = set()
    for name, text in DOCUMENTS.items():
        for line in re.findall(r"^ *sentiflow .*?(?=  #|$)", text, re.MULTILINE):
            command, options = line.split()[1], re.findall(r"(?<= )--[\w-]+", line)
            parameters = commands[command].params
            known = {option for each in parameters for option in (*each.opts, *each.secondary_opts)}
            assert set(options) <= known, f"{name}: {line}"
            found.add(command)
    told = set(re.findall(r"^sentiflow (\w+)", DOCUMENTS["docs/commands.md"], re.MULTILINE))
    assert told == set(commands) - {"import"}  # one of a team's administrator, in the team's guide


def test_every_make_target_of_the_documents_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = {
        (name, target)
        for name, text in DOCUMENTS.items()
        for target in re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE)
    }
    assert {target for _, target in found} >= {"run", "test", "check", "up"}
    assert not [(name, target) for name, target in found if target not in targets]


def test_the_architecture_names_folders_and_files_that_exist() -> None:
    page = DOCUMENTS["docs/architecture.md"]
    folders = re.findall(r"^(\w+)/ ", page, re.MULTILINE)
    assert set(folders) >= {"flows", "tasks", "sentiflow"}
    assert not [name for name in folders if not (ROOT / name).is_dir() and name != "data"]
    paths = re.findall(r"`((?:flows|tasks|sentiflow|docs)/[\w/.]*)`", page)
    assert "sentiflow/locks.py" in paths
    assert not [path for path in paths if not (ROOT / path).exists()]
    modules = {path.name for path in (ROOT / "sentiflow").rglob("*.py")}
    assert set(re.findall(r"`(\w+\.py)`", page)) <= modules


def test_the_architecture_lists_the_wings_in_the_order_of_the_contract() -> None:
    contract = (ROOT / "pyproject.toml").read_text().partition("exhaustive = true")[2].partition("]")[0]
    layers = [layer.split(" | ") for layer in re.findall(r'"([\w |]+)"', contract)]
    told = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", DOCUMENTS["docs/architecture.md"], re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in told] == layers


def test_links_lead_to_files_and_headings_that_exist() -> None:
    checked = 0
    for name, text in DOCUMENTS.items():
        folder = (ROOT / name).parent
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
        for target in targets:
            if re.match(r"\w+:", target):
                continue
            on_github = re.sub(
                r"^(?:\.\./){2}actions/workflows/(\w+\.yml)(/badge\.svg)?$", r".github/workflows/\1", target
            )
            path, _, anchor = on_github.partition("#")
            file = (folder / path).resolve() if path else ROOT / name
            assert file.exists(), f"{name}: {target}"
            assert not anchor or anchor in _anchors(file), f"{name}: {target}"
            checked += 1
    assert checked > 100


def _anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
