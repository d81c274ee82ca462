"""What the README and the code give to the site of the docs (mkdocs.yml): menu, front page, options of commands.

``python -m docs.pages`` writes the tables of docs/settings.md.
"""

import inspect
import posixpath
import re
from pathlib import Path
from typing import Any, get_args

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from typer.main import get_command

from flows.cli.main import application
from flows.cli.options import GROUPS
from sentiflow.settings import PREFIX, Settings, project_root

ROOT = project_root()
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
_BEGIN, _END = "<!-- `make docs` writes from here -->\n", "<!-- to here -->\n"
_OPTIONS = "options.md"


def on_config(config: MkDocsConfig) -> None:
    """Make the menu of the README's last table: a section a row, with the pages that it links to."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Read on\n")[2]
    rows = re.findall(r"^\| ([a-z ]+) \| (.*) \|$", table, re.MULTILINE)
    linked = {name: [ROOT / target for target in re.findall(r"\]\((.*?)\)", cell)] for name, cell in rows}
    config.nav = [
        {"Home": "index.md"},
        *(
            {name.capitalize(): [each for path in paths for each in _entries(path)]}
            for name, paths in linked.items()
        ),
    ]


def _entries(path: Path) -> list[Any]:
    """What the menu has of a page or a folder of pages."""
    if path.is_dir():
        pages = [_in_site(each) for each in sorted(path.glob("*.md"))]
        return [{path.name.capitalize(): pages}] if pages else []
    return [_in_site(path), _OPTIONS] if path.name == "commands.md" else [_in_site(path)]


def _in_site(path: Path) -> str:
    return "index.md" if path == ROOT / "README.md" else path.relative_to(ROOT).as_posix().removeprefix("docs/")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that do not lie in docs/."""
    readme = ROOT / "README.md"
    linked = re.findall(r"\]\((\w+\.md)\)", readme.read_text(encoding="utf-8"))
    for path in [readme, *(ROOT / name for name in dict.fromkeys(linked))]:
        files.append(File.generated(config, _in_site(path), abs_src_path=str(path)))
    files.append(File.generated(config, _OPTIONS, content=all_options()))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead links to where pages stand in the site, which has no code: links to that become plain text.

    Badges are left out: they are about a checkout.
    """

    def led(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        path = (Path(page.file.abs_src_path).parent / target).resolve()
        if path.suffix != ".md":
            return text
        return f"[{text}]({posixpath.relpath(_in_site(path), posixpath.dirname(page.file.src_uri))}{anchor})"

    markdown = re.sub(r"^\[!\[.*\n", "", markdown, flags=re.MULTILINE)
    links = r"\[([^\]]+)\]\(([^):#\s]+)(#[^)]*|)\)"
    return re.sub(links, led, markdown).replace('src="docs/', 'src="')


def all_options() -> str:
    """Markdown of what each command's ``--help`` shows, in its groups."""
    blocks, above = ["# All commands and options"], ""
    commands = get_command(application()).commands.items()
    for name, command in sorted(commands, key=lambda each: GROUPS.index(each[1].rich_help_panel)):
        if (group := command.rich_help_panel) != above:
            blocks.append(f"## {group}")
        above = group
        context = typer.Context(command, info_name=f"sentiflow {name}")
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        records = (param.get_help_record(context) for param in command.get_params(context))
        options = "\n".join(f"- `{option}`: {meaning}" for option, meaning in filter(None, records))
        note, _, examples = command.epilog.rpartition("Examples:\n\n")
        lines = "\n".join(re.findall("^- `(.*)`$", examples, re.MULTILINE))
        blocks += [f"### {name}", command.help, f"```text\n{usage}\n```", options, note, f"```sh\n{lines}\n```"]
    return "\n\n".join(blocks)


def with_settings(page: str) -> str:
    """docs/settings.md with the tables of today's settings: a heading a section of the class, a row a field."""
    source = Path(inspect.getfile(Settings)).read_text(encoding="utf-8")
    parts = re.findall(r'^    # ([^\n]*)$|^    (\w+): .*?^    """(.*?)"""$', source, re.MULTILINE | re.DOTALL)
    blocks = []
    for comment, field, text in parts:
        if comment:
            title, _, intro = comment.replace("``", "`").partition(": ")
            intro = f"{intro[0].upper()}{intro[1:]}.\n\n" if intro else ""
            blocks.append(f"\n## {title}\n\n{intro}| variable | default | meaning |\n|---|---|---|\n")
        else:
            blocks.append(_row(field, Settings.model_fields[field], " ".join(text.split())))
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}{''.join(blocks)}\n{_END}{rest.partition(_END)[2]}"


def _row(name: str, field: FieldInfo, text: str) -> str:
    text = re.sub(rf"(?<!`)\b{PREFIX}\w+", r"`\g<0>`", text)
    more = [*_bounds(field), *(["Secret."] if SecretStr in get_args(field.annotation) else [])]
    return f"| `{PREFIX}{name.upper()}` | {_default(field)} | {' '.join([text, *more])} |\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value == ():
        return ""
    if isinstance(value, float):
        value = f"{value:g}"
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text.replace(f'{ROOT}/', '')}`"


_SIGNS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def _bounds(field: FieldInfo) -> list[str]:
    words = [
        f"{word} {getattr(bound, sign):,.10g}"
        for bound in field.metadata
        for sign, word in _SIGNS.items()
        if hasattr(bound, sign)
    ]
    return [f"{', '.join(words).capitalize()}."] if words else []


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(with_settings(SETTINGS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
