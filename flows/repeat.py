"""The main job several times over: how much of a result is the seed's."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from flows.promote import after_training
from flows.train import Seed
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions
from sentiflow.names import AUTO
from sentiflow.operations.job import job, this_flow_run
from sentiflow.results import RepeatsResult, best_of
from sentiflow.run.record import REPEATS
from sentiflow.training.open_run import alone, planned_name, seeds_label, training_run
from sentiflow.training.preload import preload
from sentiflow.training.recipes import TUNED, TrainConfig, check_seeds
from tasks.training import TRAINING, evaluate, fetch, fit, prepare, register, summarize_repeats, train


@job(lambda given, due: planned_name(given, due, given["repeats"]))
def repeat(
    config: TrainConfig = TUNED,
    dataset: str = "imdb",
    seed: Seed = 0,
    repeats: Annotated[int, Field(ge=2, le=1_000)] = 5,
    promote: bool = False,
    table: TableOptions = DEFAULT_OPTIONS,
    start_from: str = AUTO,
) -> RepeatsResult:
    """Train a recipe with several seeds, each a run below one parent, and register the best by validation.

    1. fetch and prepare, once
    2. train and evaluate, a run a seed
    3. register: the model whose validation loss is lowest
    4. summarize: mean, standard deviation, minimum and maximum, on the parent
    5. with ``promote``: promote the version, as ``train``

    A seed that fails fails the set: a mean without it would flatter the recipe. The runs before it stay.

    Args:
        config: The recipe, field by field; those that fit_to_table names are chosen by rules.
        dataset: imdb, sample, or the path of a .csv, .tsv, .jsonl or .parquet table, or of a folder of them.
        seed: The first one, of the first weights and of the order of reviews.
        repeats: How many seeds, counted up from the first.
        promote: Afterwards promote the version if all checks pass.
        table: How a table of your own is read: its columns, its labels, how many rows may be rejected.
        start_from: What the training starts from: auto, none, base, or a version, such as reviews-sentiment/3.
    """
    check_seeds(seed, repeats)
    preload()
    with alone(this_flow_run(), dataset) as ready, training_run(ready, config, seed, REPEATS) as parent:
        parent.params({"repeats": repeats})
        prepared = prepare(parent, fetch(parent, table))
        parent = fit(parent, prepared, start_from)
        baseline, seeds = TRAINING.baseline_of(parent, prepared), []
        for each in range(seed, seed + repeats):
            name = parent.name.replace(seeds_label(seed, repeats), seeds_label(each))
            by = replace(
                TRAINING,
                train=train.with_options(task_run_name=f"train seed {each}"),
                evaluate=evaluate.with_options(task_run_name=f"evaluate seed {each}"),
            )
            seeds.append(by.train_seed(parent, prepared, name, each, baseline))
        best = best_of(seeds)
        model = register(best.run, prepared, best.trained, best.measured)
        result = summarize_repeats(parent, prepared, seeds, best, model)
    return replace(result, promotion=after_training(model.name, model.version)) if promote else result
