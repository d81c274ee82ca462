"""``sentiflow data``: a dataset as a training reads it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import TRAIN, DatasetOption, JsonOption, RecipeOption, SetOption, command, file_option
from flows.cli.output import check_page, print_table, stdout_for, write_page
from sentiflow.console import CONSOLE, Console, escape, progress_bar
from sentiflow.names import AUTO, BUILT_IN
from sentiflow.reports.blocks import Table

if TYPE_CHECKING:
    from sentiflow.data.prepare import DatasetFacts, Prepared
    from sentiflow.data.table import TableOptions
    from sentiflow.training.recipes import TrainConfig

app = typer.Typer()


@command(
    app,
    TRAIN,
    "sentiflow data",
    "sentiflow data --dataset reviews.csv --text-column review --label-column rating --labels good=1,bad=0",
    "sentiflow data --dataset reviews.csv --html reviews.html",
)
def data(
    *,
    dataset: DatasetOption = "imdb",
    table: "TableOptions",
    recipe: RecipeOption = None,
    changes: SetOption = None,
    from_labels: Annotated[
        bool, typer.Option("--from-labels", help="First write what people labelled into the dataset's folder.")
    ] = False,
    html: Annotated[
        Path | None,
        file_option("--html", help="Write a page: lengths, scripts, words by label, labels that look wrong."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check and describe a dataset without training."""
    from sentiflow.data import reviews
    from sentiflow.data.prepare import describe, fetch, prepare
    from sentiflow.settings import load_settings
    from sentiflow.training.recipes import default_recipe, load_recipe

    check_page("--html", html)
    settings = load_settings()
    if from_labels:
        from sentiflow.monitoring.labelling import write_tables

        dataset, files = write_tables(dataset, table, settings)
        for file in files:
            CONSOLE.say(f"Labels: {escape(str(file))}")
        CONSOLE.say(f"The next training of {escape(dataset)} learns from them.")
    config = load_recipe(recipe or default_recipe(dataset), changes or ())
    prepared = prepare(fetch(dataset, settings, progress_bar, table), settings, progress_bar)
    rows, known = reviews.read(prepared.table), reviews.read_vocabulary(prepared.table)
    start = None
    if config.fit_to_table:
        from sentiflow.training.start_from import choose_and_fit

        start, config = choose_and_fit(AUTO, dataset, config, rows, known, settings)
    facts = describe(rows, known, config.vocabulary_size, config.sequence_length)
    stdout = stdout_for({"dataset": prepared, "facts": facts}, as_json=as_json)
    _show(prepared, facts, config, None if start is None else start.text(), stdout)
    if html is not None:
        from sentiflow.reports.dataset import dataset_page

        write_page(html, dataset_page(prepared), CONSOLE if as_json else stdout)


def _show(
    prepared: "Prepared", facts: "DatasetFacts", config: "TrainConfig", start: str | None, stdout: Console
) -> None:
    """Print what was read, its splits, its words and its first review."""
    from sentiflow.data import division
    from sentiflow.data.rows import count_left_out
    from sentiflow.scoring.vocabulary import FIRST_WORD
    from sentiflow.training.fitting import fitted_text

    stdout.say(f"[bold]Dataset {escape(prepared.name)}[/]")
    if prepared.rejected:
        stdout.say(f"[yellow]{escape(str(prepared.rejected))}[/]")
    if prepared.left_out:
        stdout.say(escape(count_left_out(prepared.left_out)))
    for sentence in prepared.joined.sentences() if prepared.joined else ():
        stdout.say(escape(sentence))
    for warning in division.warnings(prepared.table):
        stdout.say(f"[yellow]{escape(warning)}[/]")
    if start is not None:
        stdout.say(f"A training now starts {escape(start)}: {fitted_text(config)}")
    stdout.print()
    print_table(_splits(facts, config), stdout)
    words = _words(facts, min(facts.words, config.vocabulary_size - FIRST_WORD), prepared.name)
    in_both = f"{facts.in_both:,} test reviews stand in the training split, too, word for word.\n"
    stdout.say(f"\n{words}", in_both)
    label = escape(facts.label_names[facts.first_label])
    stdout.say(f"[bold]First training review[/]: label {facts.first_label} ({label}), {len(facts.first_ids)} ids")
    stdout.print(f"{list(facts.first_ids)}\n", markup=False, soft_wrap=True)
    stdout.print(f"[bold]Decoded[/]: {len(facts.first_text.split())} words")
    stdout.say(escape(facts.first_text), f"\nPrepared table, named by its digest: {escape(str(prepared.table))}")


def _words(facts: "DatasetFacts", kept: int, name: str) -> str:
    """Which words of a dataset are read, in sentences; the first ``kept`` of its vocabulary are."""
    # The vocabulary of imdb is that of both splits; that of a table of one's own has the base's words, too.
    held, mine = (facts.words, kept) if name in BUILT_IN else (facts.training_words, facts.kept_words)
    of = "" if name in BUILT_IN else " of the training reviews"
    base = f" So are {kept - mine:,} others of the base." if kept > mine else ""
    return f"{mine:,} of {held:,} words{of} are kept, the commonest; others become the id 2, shown as ?.{base}"


def _splits(facts: "DatasetFacts", config: "TrainConfig") -> Table:
    """A column a split, a row a figure."""
    from sentiflow.data.prepare import QUANTILES

    rows = {
        "reviews": [f"{split.reviews:,}" for split in facts.splits],
        f"labelled {facts.label_names[1]}": [f"{split.positive:.2%}" for split in facts.splits],
        f"shape padded to {config.sequence_length}": [str(split.shape) for split in facts.splits],
        f"longer than {config.sequence_length}, cut": [f"{split.truncated:.2%}" for split in facts.splits],
        "words out of vocabulary": [f"{split.unknown:.2%}" for split in facts.splits],
        "mean length in ids": [f"{split.mean_length:.2f}" for split in facts.splits],
    }
    for position, quantile in enumerate(QUANTILES):
        name = {0.0: "shortest", 0.5: "median length", 1.0: "longest"}.get(quantile, f"{quantile:.0%} are up to")
        rows[name] = [f"{split.quantiles[position]:,}" for split in facts.splits]
    return Table(("", *(split.name for split in facts.splits)), [(name, *cells) for name, cells in rows.items()])
