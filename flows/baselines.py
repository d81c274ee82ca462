"""Compare the recipe's network with simpler models."""

from flows.train import Seed, train_below
from sentiflow.baselines import Name, choose, parameters_of
from sentiflow.data.prepare import Prepared
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions
from sentiflow.names import AUTO
from sentiflow.operations.flow_runs import job
from sentiflow.results import BaselinesResult
from sentiflow.runs import BASELINE, BASELINES
from sentiflow.training import preload
from sentiflow.training.context import RunContext
from sentiflow.training.open_run import alone, child_run, planned_name, seeds_label, training_run
from sentiflow.training.recipes import TUNED, TrainConfig
from tasks.summarize import summarize_baselines
from tasks.train import fetch, fit, measure_baseline, prepare

PREFIX = "baselines-"  # begins the name of the parent run, before that of the network's run


@job(lambda given: PREFIX + planned_name(given))
def baselines(
    config: TrainConfig = TUNED,
    dataset: str = "imdb",
    seed: Seed = 0,
    only: list[Name] | None = None,
    table: TableOptions = DEFAULT_OPTIONS,
    start_from: str = AUTO,
) -> BaselinesResult:
    """Measure a recipe's network and baselines on the same reviews, each a child run of one parent.

    1. fetch and prepare, once
    2. train and evaluate the recipe's network, as ``train`` does
    3. fit and evaluate each baseline: the same splits; all but nb-bigrams the same vocabulary and length
    4. summarize: one table, on the parent

    If a model fails, the flow fails; finished runs stay. Nothing is registered: only networks can be packaged.

    Args:
        config: The recipe, field by field; for baselines it sets vocabulary, length and validation.
        dataset: imdb, sample, or the path of a .csv, .tsv, .jsonl or .parquet table, or of a folder of them.
        seed: Of initial weights and of the order of reviews.
        only: Baselines to fit; by default all.
        table: How a table of your own is read: its columns, its labels, how many rows may be rejected.
        start_from: What the training starts from: auto, none, base, or a version, such as reviews-sentiment/3.
    """
    names = choose(only or [])
    preload()
    with alone(dataset) as ready, training_run(ready, config, seed, BASELINES) as parent:
        prepared = prepare(parent, fetch(parent, table))
        parent = fit(parent, prepared, start_from)
        network = train_below(parent, prepared, parent.name.removeprefix(PREFIX), BASELINE, "network").run
        runs: dict[str, RunContext] = {name: _baseline(parent, name, prepared) for name in names}
        return summarize_baselines(parent, prepared, network, runs)


def _baseline(parent: RunContext, name: Name, prepared: Prepared) -> RunContext:
    child = f"{name}-{parent.dataset_name}-{seeds_label(parent.seed)}-{parent.name[-13:]}"  # its moment
    tags = {"recipe": name, "recipe.changes": "none"}
    parameters = parameters_of(name, parent.config, parent.seed)
    with child_run(parent, child, BASELINE, prepared, parameters=parameters, tags=tags) as run:
        measure_baseline.with_options(task_run_name=f"baseline {name}")(run, name, prepared)
    return run
