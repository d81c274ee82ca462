"""``sentiflow data``."""

from collections.abc import Sequence

from rich.table import Table

from sentiflow.console import Console, escape
from sentiflow.recipes import TrainConfig, load_recipe
from sentiflow.settings import load_settings
from tasks.data import QUANTILES, DatasetFacts, inspect_dataset


def run(dataset: str, recipe: str, changes: Sequence[str]) -> None:
    """Print what a dataset holds and how a recipe sees it."""
    config = load_recipe(recipe, changes)
    prepared, facts = inspect_dataset(dataset, config, load_settings())
    console = Console()
    console.print(f"[bold]Dataset {escape(prepared.name)}[/], digest {prepared.digest}", soft_wrap=True)
    console.print(f"{prepared.table}\n", soft_wrap=True)
    console.print(_splits(facts, config))
    console.print(
        f"\n{facts.words:,} words in the whole vocabulary, of which recipe {config.recipe} keeps the ids"
    )
    console.print(f"below {config.vocabulary_size:,}; rarer words become 2, shown as ?.")
    console.print(f"{facts.in_both:,} test reviews stand word for word in the training split, too.\n")
    label = "positive" if facts.first_label else "negative"
    console.print(
        f"[bold]First training review[/]: label {facts.first_label} ({label}), {len(facts.first_ids)} ids"
    )
    console.print(f"{list(facts.first_ids)}\n", markup=False, soft_wrap=True)
    console.print(f"[bold]Decoded[/]: {len(facts.first_text.split())} words")
    console.print(escape(facts.first_text), soft_wrap=True)


def _splits(facts: DatasetFacts, config: TrainConfig) -> Table:
    """A column a split, a row a figure."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for split in facts.splits:
        table.add_column(split.name, justify="right")
    rows = {
        "reviews": [f"{split.reviews:,}" for split in facts.splits],
        "positive": [f"{split.positive:.2%}" for split in facts.splits],
        "shape before padding": [f"({split.reviews},)" for split in facts.splits],
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
