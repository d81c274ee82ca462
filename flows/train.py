"""Trainings: the main job, the same over several seeds, and a run trained again."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from flows.promote import after_training
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions
from sentiflow.names import AUTO
from sentiflow.operations.job import job, this_flow_run
from sentiflow.pipeline.training import train as in_order
from sentiflow.results import RepeatsResult, Reproduction, Skipped, TrainingResult, best_of
from sentiflow.run.record import REPEATS, REPRODUCTION
from sentiflow.training.open_run import alone, planned_name, seeds_label, start_from_it, training_run
from sentiflow.training.preload import preload
from sentiflow.training.recipes import TUNED, TrainConfig, check_seeds
from tasks.training import (
    TRAINING,
    check_original,
    evaluate,
    fetch,
    fit,
    fit_baseline,
    prepare,
    prepare_again,
    register,
    summarize_repeats,
    summarize_reproduction,
)
from tasks.training import train as train_network

# What each parameter is for is in a flow's docstring: Prefect's form shows that, not a field's description.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


@job(planned_name)
def train(
    config: TrainConfig = TUNED,
    dataset: str = "imdb",
    seed: Seed = 0,
    promote: bool = False,
    force: bool = False,
    table: TableOptions = DEFAULT_OPTIONS,
    start_from: str = AUTO,
) -> TrainingResult | Skipped:
    """Train a recipe on a dataset and register the model.

    1. fetch: bring the source here, verified
    2. prepare: decode, check, write the canonical table
    3. fit: choose what to start from, and what of the recipe the table decides
    4. train: the network, and log each epoch
    5. evaluate: score the test split, draw, report; of a table of your own beside the baseline
    6. register: pack the model, store it, make a version
    7. summarize: in MLflow, in Prefect and for the caller
    8. with ``promote``: promote the version; if a check fails, it stays registered

    A training whose recipe, data, seed, code and packages equal those of a registered version is skipped:
    the flow run ends as Skipped. With ``promote``, that version is judged, unless it was.

    Args:
        config: The recipe, field by field; those that fit_to_table names are chosen by rules.
        dataset: imdb, sample, or the path of a .csv, .tsv, .jsonl or .parquet table, or of a folder of them.
        seed: Of the first weights and of the order of reviews.
        promote: Afterwards promote the version if all checks pass.
        force: Train even if an equal version is registered.
        table: How a table of your own is read: its columns, its labels, how many rows may be rejected.
        start_from: What the training starts from: auto, none, base, or a version, such as reviews-sentiment/3.
    """
    result = in_order(this_flow_run(), config, dataset, seed, table, start_from, force=force, by=TRAINING)
    if not promote or (model := result.model) is None:
        return result
    return replace(result, promotion=after_training(model.name, model.version))


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
                train=train_network.with_options(task_run_name=f"train seed {each}"),
                evaluate=evaluate.with_options(task_run_name=f"evaluate seed {each}"),
            )
            seeds.append(by.train_seed(parent, prepared, name, each, baseline))
        best = best_of(seeds)
        model = register(best.run, prepared, best.trained, best.measured)
        result = summarize_repeats(parent, prepared, seeds, best, model)
    return replace(result, promotion=after_training(model.name, model.version)) if promote else result


@job(lambda given, due: f"reproduction:{given['run']}-{due}")
def reproduce(
    run: Annotated[str, Field(min_length=1, max_length=300)] = "imdb-sentiment@champion",
) -> Reproduction:
    """Train a run again and compare.

    1. check: find the run and its data
    2. prepare: the very table that it was trained on
    3. train: its recipe and seed, from what it started from, with the code and the packages that are here
    4. evaluate: score the test split
    5. compare: the weights; the outcome on the version

    Nothing is registered. If the weights are not identical, bit for bit, the flow run fails.

    Args:
        run: Its id, the beginning of it, its name, or the version that it made, like imdb-sentiment/3.
    """
    original = check_original(run)
    preload()
    tags = {"reproduces": original.record.run_id}
    with (
        alone(this_flow_run(), original.dataset) as ready,
        training_run(ready, original.config, original.seed, REPRODUCTION, tags, ()) as again,
    ):
        prepared = prepare_again(again, original)
        again = start_from_it(again, original.start)
        baseline = fit_baseline(again, prepared) if again.config.ngrams else None
        trained = train_network(again, prepared, baseline)
        evaluate(again, prepared, trained, baseline)
        result = summarize_reproduction(again, prepared, trained, original)
    result.need_identical()
    return result
