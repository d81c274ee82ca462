"""Tables and results as the commands print them."""

import math
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table

from sentiflow.console import Console, escape
from sentiflow.errors import UsageError
from sentiflow.files import publish
from sentiflow.folder import as_typed, expanded, here

if TYPE_CHECKING:
    from sentiflow.promotion.candidate import Candidate
    from sentiflow.reports import page

_PIPE = 10_000  # columns of what is no terminal


def print_table(block: "page.Table", console: Console) -> None:
    """Print a table of a report; whole, if it goes to a pipe. Rows with an alarm are red."""
    if not console.is_terminal:
        console.width = _PIPE  # a line that a script reads is never folded
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(block.heading))
    for i, name in enumerate(block.heading):
        side: Literal["left", "right"] = "left" if i < block.words else "right"
        shown.add_column(escape(name), justify=side, overflow="fold", no_wrap=name == "id")  # people copy ids
    for number, row in enumerate(block.rows):
        shown.add_row(*map(escape, row), style="red" if number in block.alarms else None)
    console.print(shown)


def print_report(report: "page.Report", console: Console) -> None:
    """Print what tells a report briefly: its texts and tables."""
    from sentiflow.reports import page

    folded = console.is_terminal  # a line that a script reads never is
    for line in (f"[bold]{escape(report.title)}[/]", *(escape(text.text) for text in report.lead)):
        console.print(line, soft_wrap=not folded)
    for section in report.sections:
        if section.brief:
            console.print(f"\n[bold]{escape(section.title)}[/]")
        for block in section.blocks if section.brief else ():
            if isinstance(block, page.Table):
                print_table(block, console)
            elif isinstance(block, page.Text):
                console.print(escape(block.text), soft_wrap=not folded)


def stdout_for(result: object, *, as_json: bool) -> Console:
    """The console for the words about a result; silent if JSON is wanted, which is printed here."""
    if as_json:
        print_json(Console(), result)
    return Console(quiet=as_json)


def print_json(console: Console, value: object) -> None:
    """Print for scripts: whole, at any width."""
    import json

    # Printable ASCII: a terminal obeys nothing of it.
    text = json.dumps(_as_json(value), indent=2, allow_nan=False)
    console.file.write(f"{text}\n")  # rich would take a second for a thousand runs


def _as_json(value: Any) -> Any:
    """What JSON has of a value; of a dataclass the fields that its repr shows, which settings are not among."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(each) for each in value]
    if is_dataclass(value):
        return {each.name: _as_json(getattr(value, each.name)) for each in fields(value) if each.repr}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Path):
        return str(value)
    from sentiflow.data.table import TableOptions
    from sentiflow.training.recipes import TrainConfig

    return value.model_dump(mode="json") if isinstance(value, (TrainConfig, TableOptions)) else value


def short_moment(moment: datetime) -> str:
    """Without the year, if it is this one."""
    return f"{moment:%m-%d %H:%M}" if moment.year == datetime.now().year else f"{moment:%Y-%m-%d}"


def show_judgement(candidate: "Candidate", console: Console) -> None:
    """Print each rule with its number and its limit, and what was not judged."""
    from sentiflow.reports import page

    decision = candidate.decision
    console.say(f"[bold]{escape(candidate.title)}[/]\n")
    rows = [("yes" if rule.passed else "no", rule.name, rule.text) for rule in decision.rules]
    failed = [place for place, rule in enumerate(decision.rules) if not rule.passed]
    print_table(page.Table(("", "", ""), rows, words=3, alarms=failed), console)
    console.say(*(f"[dim]{escape(note)}[/]" for note in decision.notes))
    console.print()


def show_promotion(candidate: "Candidate", console: Console) -> None:
    """Say that the version is champion now; an error if it is not."""
    candidate.need_promotion()
    console.say(f"[bold]{escape(candidate.summary)}[/]")


def check_page(option: str, path: Path | None, ending: str = ".html") -> None:
    """Check, before the work is done, that a page can be written where an option says."""
    if path is None:
        return
    example = f"For example: {option} report{ending}"
    if not path.name or path.is_dir():
        raise UsageError(f"{option} {path} names no file.", example)
    if path.suffix.lower() != ending:
        raise UsageError(f"{option} {path} does not end in {ending}.", example)
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", f"Make it, or name a file elsewhere: {option} FILE")


def write_page(path: Path, text: str, console: Console) -> None:
    """Publish a page and say where; bytes that were no text show as ?."""
    publish(path, lambda target: target.write_text(text, encoding="utf-8", errors="replace"))
    console.say(f"Written: {escape(as_typed(str(path)))}")


def program() -> str:
    """How to call this program from here: by its name where the shell finds it, else by its path."""
    return "sentiflow" if shutil.which("sentiflow") else quote(os.path.relpath(expanded(sys.argv[0]), here()))
