"""A run trained again, to see whether the same comes out."""

from typing import Annotated

from pydantic import Field

from sentiflow.operations.job import job, this_flow_run
from sentiflow.results import Reproduction
from sentiflow.run.record import REPRODUCTION
from sentiflow.training.open_run import alone, start_from_it, training_run
from sentiflow.training.preload import preload
from tasks.training import check_original, evaluate, fit_baseline, prepare_again, summarize_reproduction, train


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
        trained = train(again, prepared, baseline)
        evaluate(again, prepared, trained, baseline)
        result = summarize_reproduction(again, prepared, trained, original)
    result.need_identical()
    return result
