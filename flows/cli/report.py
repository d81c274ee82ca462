"""``sentiflow report``."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.markdown import Markdown

from sentiflow.console import Console, escape
from sentiflow.errors import UsageError
from sentiflow.files import publish
from sentiflow.runs.record import RunRecord
from sentiflow.settings import Settings, load_settings
from sentiflow.tracking.store import find_runs, open_store
from sentiflow.tracking.types import Store

COMPARISON = "comparison.html"  # beside a run's own report
# Likewise: what the training wrote has readings that cannot be made again where no version keeps the weights.
REBUILT = "report-rebuilt.html"


def run(names: Sequence[str], output: Path | None, summary: Path | None, *, log: bool) -> None:
    """Write the page; show the summary or write it, too; store the page if asked to."""
    for path, option in ((output, "--output"), (summary, "--markdown")):
        if path is not None and (not path.name or path.is_dir()):
            raise UsageError(f"{option} {path} names no file.", f"For example: {option} report.html")
    for folder, option in _folders(output, summary):
        _check(folder, option)
    settings = load_settings()
    store = open_store(settings)
    runs = find_runs(store, names)
    page_file = output or Path(_name(runs))
    if summary is not None and summary.resolve() == page_file.resolve():
        raise UsageError(f"--markdown {summary} is where the page goes, too.", "Name two files.")
    from sentiflow.tracking.reports import report_of  # it imports matplotlib, and a wrong name is told sooner

    report = report_of(store, runs, settings)
    console, page = Console(), report.page()
    _tell(report.markdown(), summary, console)
    _write(page_file, page, console)
    if log:
        _log(settings, store, runs, page, console)


def _folders(output: Path | None, summary: Path | None) -> list[tuple[Path, str]]:
    """Where files are to be written, by default here, and the options that say so."""
    page = (Path() if output is None else output.parent, "--output")
    return [page] if summary is None else [page, (summary.parent, "--markdown")]


def _check(folder: Path, option: str) -> None:
    """Refuse a folder that cannot be written to, before the work is done that it is for."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", f"Make it, or name a file elsewhere: {option} FILE")
    try:
        with tempfile.TemporaryFile(dir=folder):  # permissions alone do not tell: a disk may be read-only
            pass
    except OSError as err:
        raise UsageError(
            f"The folder {folder.absolute()} cannot be written to: {err.strerror}.",
            f"Name a file elsewhere: {option} FILE",
        ) from err


def _tell(text: str, summary: Path | None, console: Console) -> None:
    """Show the summary, as Markdown to a pipe, or write it."""
    if summary is not None:
        _write(summary, text, console)
    elif console.is_terminal:
        console.print(Markdown(text))
    else:
        console.print(text, markup=False, soft_wrap=True)


def _name(runs: Sequence[RunRecord]) -> str:
    others = f"-and-{len(runs) - 1}-more" if len(runs) > 1 else ""
    return f"report-{runs[0].run_id[:8]}{others}.html"


def _write(path: Path, text: str, console: Console) -> None:
    publish(path, lambda target: target.write_text(text, encoding="utf-8", errors="replace"))
    console.print(f"Written: {escape(str(path))}", soft_wrap=True)


def _log(settings: Settings, store: Store, runs: Sequence[RunRecord], page: str, console: Console) -> None:
    from sentiflow.tracking.client import connect, tracking_errors  # seconds to import, so only where needed
    from sentiflow.tracking.reports import PAGE

    with tempfile.TemporaryDirectory() as folder:
        own = REBUILT if store.file(runs[0], PAGE, Path(folder)) else PAGE
    name = own if len(runs) == 1 else COMPARISON
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        client.log_text(runs[0].run_id, page, name)
    console.print(f"Stored: {name} on {escape(runs[0].name)}", soft_wrap=True)
