"""What becomes of a process when nobody reads what it writes any more; and nothing printed steers the terminal."""

import errno
import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.markdown import Markdown
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sentiflow.console import Console, LastingFile, escape
from sentiflow.store.client import connect
from tests.world import ROOT, World, command


@pytest.fixture(params=["pipe", "terminal"])
def unread(request: pytest.FixtureRequest) -> Iterator[int]:
    """The end of a pipe whose reader has ended, or of a terminal that was closed."""
    reader, writer = os.pipe() if request.param == "pipe" else pty.openpty()
    os.close(reader)
    yield writer
    os.close(writer)


def run(arguments: list[str], unread: int, world: World) -> int:
    return subprocess.run(
        arguments, env=world.environment(), cwd=world.root, stdout=unread, stderr=unread, start_new_session=True,
        timeout=200, check=False,
    ).returncode  # fmt: skip


# As python -m prefect.engine: Prefect sets its log up before the flow's module is imported.
FLOW = """\
import logging, os, pathlib, sys
from prefect.logging import get_logger
from sentiflow.console import CONSOLE, outlive_readers
outlive_readers()
for number in range(3):
    get_logger("flow_runs").warning("line %d", number)
    logging.getLogger("mlflow").warning("line %d", number)
    print("line", number, flush=True)
    CONSOLE.print("line", number)
    os.write(1, b"native code"), os.write(2, b"native code")
pathlib.Path(sys.argv[1]).write_text("to the end")
"""


def test_a_flows_process_goes_on_whatever_it_writes_with(unread: int, world: World) -> None:
    end = world.root / "end"
    assert run([sys.executable, "-c", FLOW, str(end)], unread, world) == 0
    assert end.read_text() == "to the end"


def test_a_full_disk_is_still_told() -> None:
    with LastingFile("/dev/full", "w") as full, pytest.raises(OSError) as err:
        full.write(b"a line")
    assert err.value.errno == errno.ENOSPC


@pytest.mark.story
def test_a_training_is_finished_and_registered(unread: int, world: World, tmp_path: Path) -> None:
    changes = ["--set", "epochs=2", "--set", "sequence_length=20", "--set", "units=4"]
    assert run([command(), "train", "--dataset", "sample", *changes], unread, world) == 0
    (trained,) = connect(world.settings).search_runs(["1"])
    assert (trained.info.status, "end" in trained.data.tags) == ("FINISHED", False)


def test_in_the_locale_c_texts_are_read_and_shown_as_utf_8() -> None:
    """Red if a word with such a letter were read as one that the model does not know."""
    code = (
        "import sys; from sentiflow.console import outlive_readers;"
        "outlive_readers(); print(sys.argv[1], len(sys.argv[1]))"
    )
    text = "it\u2019s na\u00efve"
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", code, text.encode()], env=environment, capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout.decode() == f"{text} 10\n"


STEERING = "a\x1b]0;PWNED\x07\x1b[31mRED\x9b2J\r\b\x7f\u202eb\u2028c\udc80"
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


def test_a_name_makes_no_line_of_its_own_and_no_markup() -> None:
    told = printed(f"Run {escape('a[red]b[/red]' + chr(10) + 'Error: c :smile:')}.", terminal=False)
    assert told == "Run a[red]b[/red]\\nError: c :smile:.\n"


def test_a_progress_bar_names_what_it_is_told_and_obeys_nothing() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=200)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as bar:
        bar.add_task(f"[red]{STEERING}")
    told = _OWN.sub("", file.getvalue().replace("\x1b[31mRED", "OBEYED"))
    assert "OBEYED" not in told
    assert "\x1b" not in told
    assert "[red]a\\x1b]0;PWNED" in told
