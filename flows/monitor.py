"""A look for drift in what was scored and served."""

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from sentiflow.names import dataset_name
from sentiflow.orchestration.flow_runs import job
from tasks.monitor import Look, act, collect, compare, remember, report, told_of, too_few, watching


def _run_name() -> str:
    dataset = dataset_name(flow_run.parameters["dataset"])
    return f"monitor-{dataset}-{flow_run.scheduled_start_time:%y%m%d-%H%M%S}"


@job(name="monitor", flow_run_name=_run_name)
def monitor(dataset: str = "imdb") -> State[Look]:
    """Compare the texts since the last look with the reviews that the model learned from.

    1. collect: the texts of the log that no look has seen; if they are few, they wait for the next one
    2. compare: vocabulary, length and score, with the version in use
    3. report: pictures and figures in MLflow, a table in Prefect
    4. act: when limits are passed, emit the event that starts a training
    5. remember: where the next look begins

    Args:
        dataset: Whose model: imdb, sample, or the name of your table.
    """
    with watching(dataset) as watch:
        texts = collect(watch)
        if texts.distinct < watch.settings.monitor_least:
            return _completed(too_few(watch, texts))
        comparison = compare(watch, texts)
        reported = report(watch, texts, comparison)
        act(watch, texts, comparison, reported)
        remember(watch, texts)
    return _completed(told_of(watch, texts, comparison, reported))


def _completed(look: Look) -> State[Look]:
    """The state of the flow run, with a message that tells the outcome."""
    return Completed(message=look.message, data=look)
