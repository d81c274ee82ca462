"""The main job: fetch, prepare, train, evaluate, register, summarize."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from flows.promote import after_training
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions
from sentiflow.names import AUTO
from sentiflow.operations.job import job, this_flow_run
from sentiflow.pipeline.training import train as in_order
from sentiflow.results import Skipped, TrainingResult
from sentiflow.training.open_run import planned_name
from sentiflow.training.recipes import TUNED, TrainConfig
from tasks.training import TRAINING

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
