"""Tests that nothing which is printed steers the terminal."""

import io
import re

import pytest
from rich.markdown import Markdown
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sentiflow.console import Console, escape

STEERING = "a\x1b]0;PWNED\x07\x1b[31mRED\x9b2J\r\b\x7f\u202eb\u2028c\udc80"
SHOWN = r"a\x1b]0;PWNED\x07\x1b[31mRED\x9b2J\r\x08\x7f\u202eb\u2028c\udc80"
_OWN = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")  # colours and cursor moves of rich, none of which STEERING holds


def printed(what: object, *, terminal: bool = True, **options: object) -> str:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=200, color_system="truecolor" if terminal else None
    )
    console.print(what, **options)
    return file.getvalue()


def table() -> Table:
    made = Table(escape(STEERING), title=STEERING, box=None)
    made.add_row(STEERING.replace("[31m", ""))
    made.add_row(Text(STEERING))
    return made


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    "what", [escape(STEERING), Text(STEERING), table(), Markdown(STEERING), f"[bold]{escape(STEERING)}[/]"]
)
def test_no_order_reaches_the_terminal(what: object, terminal: bool) -> None:
    told = printed(what, terminal=terminal)
    rest = _OWN.sub("", told.replace("\x1b[31mRED", "OBEYED"))
    assert "OBEYED" not in rest
    assert all(char.isprintable() or char == "\n" for char in rest), rest
    assert r"\x1b]0;PWNED" in rest
    told.encode()  # half of a surrogate pair would fail here


def test_a_name_is_shown_whole_in_a_line() -> None:
    assert printed(f"[bold]{escape(STEERING)}[/] is a name", terminal=False) == f"{SHOWN} is a name\n"


def test_a_name_makes_no_line_of_its_own_and_no_markup() -> None:
    told = printed(f"Run {escape('a[red]b[/red]' + chr(10) + 'Error: c :smile:')}.", terminal=False)
    assert told == "Run a[red]b[/red]\\nError: c :smile:.\n"


def test_the_consoles_own_colours_and_lines_stay() -> None:
    assert printed("[bold]a[/]\nb") == "\x1b[1ma\x1b[0m\nb\n"


def test_a_progress_bar_names_what_it_is_told_and_obeys_nothing() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=200)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as bar:
        bar.add_task(f"[red]{STEERING}")
    told = _OWN.sub("", file.getvalue().replace("\x1b[31mRED", "OBEYED"))
    assert "OBEYED" not in told
    assert "\x1b" not in told
    assert "[red]a\\x1b]0;PWNED" in told
