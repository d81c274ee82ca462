"""A drift check of the texts that were scored and served."""

from sentiflow.monitoring import live
from sentiflow.monitoring.check import CheckOutcome, drift_check, too_few
from sentiflow.names import dataset_name
from sentiflow.operations.flow_runs import due, job
from tasks.operations import collect, compare, emit_event, mark_checked, measure_accuracy, report


@job(lambda given: f"monitor-{dataset_name(given['dataset'])}-{due()}")
def monitor(dataset: str = "imdb") -> CheckOutcome:
    """Compare the texts since the last check with the reviews that the model was trained on.

    1. measure accuracy: in use, from new labels of samples; a drop is told as drift is
    2. collect: the new texts of the log; if they are too few, they are left to the next check
    3. compare: vocabulary, length and score, with the version in use
    4. report: pictures and metrics in MLflow, a table in Prefect
    5. emit event: if there is drift; it starts a training where the dataset has something new, else texts are
       drawn for people to label
    6. mark checked: where the next check begins

    Args:
        dataset: The model's dataset: imdb, sample, or the name of your table.
    """
    with drift_check(dataset) as check:
        found, then = measure_accuracy(check)
        accuracy = tuple(f"{each.headline}. {each.power}" for each in live.news(found))
        texts = collect(check)
        if texts.distinct < check.settings.monitor_min_texts:
            return too_few(check, texts, accuracy, then)
        result = compare(check, texts, [live.section(found)] if found else [])
        run = report(check, texts, result)
        then = emit_event(check, texts, result, run) or then
        mark_checked(check, texts, result)
    return CheckOutcome(check.model, texts.distinct, f"{result.headline}.", result, run.url, accuracy, then)
