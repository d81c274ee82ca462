"""``sentiflow data``."""

from typing import TYPE_CHECKING

import typer
from rich.table import Table

from flows.cli.options import TRAIN, DatasetOption, JsonOption, RecipeOption, SetOption, command
from flows.cli.tables import stdout_for
from sentiflow.console import escape, progress_bar
from sentiflow.names import AUTO, BUILT_IN

if TYPE_CHECKING:
    from sentiflow.data.facts import DatasetFacts
    from sentiflow.data.table import TableOptions
    from sentiflow.training.recipes import TrainConfig

app = typer.Typer()


@command(
    app,
    TRAIN,
    "sentiflow data",
    "sentiflow data --dataset reviews.csv --text-column review --label-column rating --labels good=1,bad=0",
)
def data(
    *,
    dataset: DatasetOption = "imdb",
    table: "TableOptions",
    recipe: RecipeOption = None,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check and describe a dataset without training."""
    from sentiflow.data import reviews
    from sentiflow.data.facts import describe, warnings
    from sentiflow.data.prepare import fetch, prepare
    from sentiflow.data.rejects import count_left_out
    from sentiflow.scoring.vocabulary import FIRST_WORD
    from sentiflow.settings import load_settings
    from sentiflow.training.fitting import fitted_text
    from sentiflow.training.recipes import default_recipe, load_recipe
    from sentiflow.training.start_from import choose_and_fit

    config, settings = load_recipe(recipe or default_recipe(dataset), changes or ()), load_settings()
    prepared = prepare(fetch(dataset, settings, progress_bar, table), settings, progress_bar)
    rows, known = reviews.read(prepared.table), reviews.read_vocabulary(prepared.table)
    start = None
    if config.fit_to_table:
        start, config = choose_and_fit(AUTO, dataset, config, rows, known, settings)
    facts = describe(rows, known, config.vocabulary_size, config.sequence_length)
    stdout = stdout_for({"dataset": prepared, "facts": facts}, as_json=as_json)
    stdout.say(f"[bold]Dataset {escape(prepared.name)}[/], digest {prepared.digest}", escape(str(prepared.table)))
    if prepared.rejected:
        stdout.say(f"[yellow]{escape(str(prepared.rejected))}[/]")
    if prepared.left_out:
        stdout.say(escape(count_left_out(prepared.left_out)))
    for sentence in prepared.joined.sentences() if prepared.joined else ():
        stdout.say(escape(sentence))
    for warning in warnings(rows):
        stdout.say(f"[yellow]{escape(warning)}[/]")
    if start is not None:
        stdout.say(f"A training now starts {escape(start.text())}: {fitted_text(config)}")
    stdout.print()
    stdout.print(_splits(facts, config))
    words = _words(facts, min(facts.words, config.vocabulary_size - FIRST_WORD), prepared.name)
    in_both = f"{facts.in_both:,} test reviews have the very words of a training review.\n"
    stdout.say(f"\n{words}", in_both)
    label = escape(facts.label_names[facts.first_label])
    stdout.say(f"[bold]First training review[/]: label {facts.first_label} ({label}), {len(facts.first_ids)} ids")
    stdout.print(f"{list(facts.first_ids)}\n", markup=False, soft_wrap=True)
    stdout.print(f"[bold]Decoded[/]: {len(facts.first_text.split())} words")
    stdout.say(escape(facts.first_text))


def _words(facts: "DatasetFacts", kept: int, name: str) -> str:
    """Which words of a dataset are read, in sentences; the first ``kept`` of its vocabulary are."""
    # The vocabulary of imdb is that of both splits; that of a table of one's own has the base's words, too.
    held, mine = (facts.words, kept) if name in BUILT_IN else (facts.training_words, facts.kept_words)
    of = "" if name in BUILT_IN else " of the training reviews"
    words = f"All {mine:,} words{of} are kept."
    if mine < held:
        words = f"Of {held:,} words{of} the {mine:,} commonest are kept; others become the id 2, shown as ?."
    if kept > mine:
        words += f" So are {kept - mine:,} others of the base."
    left_out = {"imdb": "", "sample": " Words in no training review are left out."}
    return words + left_out.get(name, " Words that neither the training reviews nor the base have are left out.")


def _splits(facts: "DatasetFacts", config: "TrainConfig") -> Table:
    """A column a split, a row a figure."""
    from sentiflow.data.facts import QUANTILES

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for split in facts.splits:
        table.add_column(split.name, justify="right")
    rows = {
        "reviews": [f"{split.reviews:,}" for split in facts.splits],
        f"labelled {escape(facts.label_names[1])}": [f"{split.positive:.2%}" for split in facts.splits],
        f"shape padded to {config.sequence_length}": [str(split.shape) for split in facts.splits],
        f"longer than {config.sequence_length}, cut": [f"{split.truncated:.2%}" for split in facts.splits],
        "words out of vocabulary": [f"{split.unknown:.2%}" for split in facts.splits],
        "mean length in ids": [f"{split.mean_length:.2f}" for split in facts.splits],
    }
    for position, quantile in enumerate(QUANTILES):
        name = {0.0: "shortest", 0.5: "median length", 1.0: "longest"}.get(quantile, f"{quantile:.0%} are up to")
        rows[name] = [f"{split.quantiles[position]:,}" for split in facts.splits]
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table
