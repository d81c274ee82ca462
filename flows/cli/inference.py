"""``sentiflow predict``, ``score`` and ``serve``: a registered model in use."""

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.text import Text

from flows.cli.options import (
    USE,
    AnsweringOption,
    JsonOption,
    KeepOption,
    LabelColumnOption,
    LabelsOption,
    NeutralOption,
    SheetOption,
    TextColumnOption,
    VersionOption,
    command,
    file_option,
    path,
    table_options,
)
from flows.cli.output import check_page, print_table, stdout_for, write_page
from sentiflow.console import CONSOLE, Console, escape, progress_bar, working
from sentiflow.errors import UsageError
from sentiflow.names import model_name

if TYPE_CHECKING:
    from sentiflow.reports.blocks import MarkedWord
    from sentiflow.scoring import Attribution, TextScorer, Word
    from sentiflow.store.records import Version

_SHOWN = 60
ROWS_REJECTED = 5  # exit code

app = typer.Typer()


@command(
    app,
    USE,
    'sentiflow predict "A quiet film that stays with you."',
    'sentiflow predict --model-version 2 "Two hours I will never get back." "Loved it."',
    'sentiflow predict --explain --html explanation.html "It began well, but the ending was a mess."',
)
def predict(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="One or more texts.")],
    explain: Annotated[bool, typer.Option("--explain", help="Show the score after each word.")] = False,
    html: Annotated[Path | None, file_option("--html", help="Write the explanation of a text as a page.")] = None,
    model_version: VersionOption = None,
    dataset: AnsweringOption = None,
    with_neutral: NeutralOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify texts as positive or negative.

    A model of your own table answers in the table's words. The score, from 0 to 1, is the probability of positive,
    the label that means 1; a text above 0.5 gets it.
    """
    if any(not text.strip() for text in texts):
        raise UsageError("A text is empty.", 'For example: sentiflow predict "A quiet film that stays with you."')
    if html is not None and not explain:
        raise UsageError("--html writes an explanation.", "Add --explain.")
    if html is not None and len(texts) > 1:
        raise UsageError("--html takes one text.", "Put quotes around the text, or leave --html out.")
    check_page("--html", html)
    found, scorer = _load(dataset, model_version)
    from sentiflow.store.find import need_explained, need_neutral

    if with_neutral:
        need_neutral(scorer, str(found))
    if explain:
        need_explained(scorer, str(found))
    readings = [scorer.explain(text) for text in texts] if explain else []
    scores = [reading.score for reading in readings] or scorer.score(texts).tolist()
    facts = [vars(reading) for reading in readings] or [{"score": score} for score in scores]
    known = [scorer.vocabulary.knows(text) for text in texts]
    labels = [scorer.label_of(score, with_neutral=with_neutral) for score in scores]
    answers = [
        {"text": text, "label": label, "known": any_word, **each}
        for text, label, any_word, each in zip(texts, labels, known, facts, strict=True)
    ]
    record = {"model": {**_model(found), "label_names": scorer.label_names}, "answers": answers}
    stdout = stdout_for(record, as_json=as_json)
    model = f"[dim]{found} ({found.why})[/]"
    if explain:
        from sentiflow.reports.blocks import explanation_page

        for reading, label in zip(readings, labels, strict=True):
            _explain(reading, _verdict(reading.score, label, scorer), model, stdout)
            if html is not None:  # of a single text
                page = explanation_page(reading, scorer, f"{found} ({found.why})")
                write_page(html, page, CONSOLE if as_json else stdout)
        return
    for text, score, label, any_word in zip(texts, scores, labels, known, strict=True):
        line = " ".join(text.split())
        beginning = line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
        note = "" if any_word else "  [dim](no word of it is known)[/]"
        stdout.say(f"{_verdict(score, label, scorer)}  {escape(beginning)}{note}")
    stdout.print(model)


def _model(version: "Version") -> dict[str, object]:
    return {"name": version.name, "version": version.number or None, "why": version.why}


def _load(dataset: str | None, number: int | None) -> "tuple[Version, TextScorer]":
    from sentiflow.settings import load_settings

    settings = load_settings()
    with nullcontext() if settings.sqlite_file is not None else working("Loading the model"):
        # Within one import more, each call would map and free 16 kB for the stack: 35 ms (Python 3.11).
        import numpy  # noqa: F401

        from sentiflow.store.find import find_version, load_scorer

        version = find_version(settings, None if dataset is None else model_name(dataset), number)
        return version, load_scorer(settings, version)


def _verdict(score: float, label: str, scorer: "TextScorer") -> str:
    """Label and score, as markup; the two names of labels take the same space."""
    space = " " * (max(map(cell_len, scorer.label_names)) - cell_len(label))
    colour = dict(zip(scorer.label_names, ("red", "green"), strict=True)).get(label, "yellow")
    return f"[{colour}]{escape(label)}[/]{space}  {score:.4f}"


def _explain(reading: "Attribution", verdict: str, model: str, stdout: Console) -> None:
    from sentiflow.reports.blocks import strongest_words

    stdout.print(f"[dim]before the first word[/] {reading.start:.2f}")
    stdout.say(*_lines(reading, stdout.width), "")
    if not any(word.status in ("read", "rare") for word in reading.words):
        stdout.print("[dim]no word of it is known: the score is that of an empty text[/]")
    for way, words in zip(("raised", "lowered"), strongest_words(reading), strict=True):
        if words:
            changes = ", ".join(f"{_shown(word)} {word.change:+.2f}" for word in words)
            stdout.say(f"{way} it most: {escape(changes)}")
    for status, why in (("unknown", "no training review has them"), ("cut", "only the last words are read")):
        if left := sum(word.status == status for word in reading.words):
            stdout.print(f"[dim]words not read, as {why}: {left}[/]")
    stdout.say(f"{verdict}  {model}")


def _lines(reading: "Attribution", width: int) -> list[Text]:
    """Each word with the score after it, never apart; the stronger the colour, the more it moved the score."""
    from sentiflow.reports.blocks import marked_words

    lines = [Text()]
    for word, marked in zip(reading.words, marked_words(reading), strict=True):
        entry = Text(_shown(word), _style(marked))
        entry.append(f" {word.score:.2f}" if word.status in ("read", "rare") else "", "not bold dim")
        if lines[-1] and lines[-1].cell_len + 2 + entry.cell_len > width:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append_text(entry)
    return lines


def _style(marked: "MarkedWord") -> str:
    if marked.effect in ("", "unread"):
        return "dim strike" if marked.effect else "default"
    paint = int(95 + 160 * marked.strength)
    return f"bold black on rgb(95,{paint},95)" if marked.effect == "up" else f"bold black on rgb({paint},95,95)"


def _shown(word: "Word") -> str:
    """A word for a terminal: bytes that were no text show as ?."""
    return word.text.encode(errors="replace").decode()


@command(
    app,
    USE,
    "sentiflow score reviews.csv -o scores.csv --with-text",
    "sentiflow score reviews.jsonl -o scores.parquet --text-column body --keep id",
    "sentiflow score last-month.csv -o scores.parquet --label-column rating --labels good=1,bad=0",
)
def score(
    source: Annotated[
        Path,
        typer.Argument(
            parser=path, metavar="INPUT", help="A table (.csv, .xlsx, .json, ...), or a folder of tables or texts."
        ),
    ],
    output: Annotated[Path, file_option("--output", "-o", help="The file to write: .csv, .jsonl or .parquet.")],
    text_column: TextColumnOption = None,
    with_text: Annotated[bool, typer.Option("--with-text", help="Copy the texts to the output.")] = False,
    keep: KeepOption = None,
    version: VersionOption = None,
    dataset: AnsweringOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that score; by default one a core.")
    ] = None,
    label_column: LabelColumnOption = None,
    labels: LabelsOption = None,
    sheet: SheetOption = None,
    with_neutral: NeutralOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a table, a folder of tables, or a folder of texts.

    What cannot be scored goes to a file of rejects (exit code 5). Of a labelled table the accuracy is shown.
    """
    from sentiflow.batch.job import Request, score_input
    from sentiflow.data.rows import hints_for
    from sentiflow.reports.blocks import Table
    from sentiflow.settings import load_settings

    column = "text" if text_column is None else text_column
    labelled = None if label_column is labels is None else table_options(label_column=label_column, labels=labels)
    request = Request(
        source, output, column, with_text, tuple(keep or ()), dataset, version, workers,
        labelled, sheet or "", with_neutral,
    )  # fmt: skip
    scored = score_input(request, load_settings(), progress_bar)
    counts = {"output": scored.output, "totals": scored.totals, "seconds": scored.seconds}
    counts |= {"evaluation": scored.evaluation} if scored.evaluation else {}
    stdout = stdout_for({"model": _model(scored.version), **counts}, as_json=as_json)
    counted, *others = map(escape, scored.lines)
    stdout.say(f"[bold]{counted}[/]", *others)
    if found := scored.evaluation:
        of_labels = [(f"labelled {found.label_names[k]}", *map("{:,}".format, found.confusion[k])) for k in (0, 1)]
        print_table(Table(("", *(f"scored {name}" for name in found.label_names)), of_labels), stdout)
        stdout.say(*(escape(f"{each.heading}: {' '.join(each.text.split())}") for each in found.worst))
    for hint in hints_for(scored.totals.reasons, request.source):
        CONSOLE.say(escape(hint))
    if scored.totals.rejects:
        raise typer.Exit(ROWS_REJECTED)


@command(app, USE, "sentiflow serve", "sentiflow serve --port 8080 --dataset sample")
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; by default SENTIFLOW_SERVE_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port, 0 for a free one; by default SENTIFLOW_SERVE_PORT."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that answer; by default SENTIFLOW_SERVE_WORKERS.")
    ] = None,
    dataset: AnsweringOption = None,
) -> None:
    """Serve the champion over HTTP.

    Follows the champion when it changes. Runs until Ctrl-C.
    """
    from flows.cli.output import set_up
    from sentiflow.serving.processes import serve
    from sentiflow.settings import load_settings

    settings = load_settings()
    if workers is not None:
        settings = settings.model_copy(update={"serve_workers": workers})
    name = None if dataset is None else model_name(dataset)
    serve(
        settings,
        name,
        settings.serve_host if host is None else host,
        settings.serve_port if port is None else port,
        partial(set_up, debug="--debug" in sys.argv),
        lambda address: CONSOLE.say(
            escape(f"Sentiflow answers at {address}, API docs at {address}/docs   (Ctrl-C ends it)")
        ),
    )
