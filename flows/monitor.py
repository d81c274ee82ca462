"""A drift check of the texts that were scored and served."""

from sentiflow.monitoring import accuracy
from sentiflow.monitoring.check import CheckOutcome, drift_check
from sentiflow.names import dataset_name
from sentiflow.operations.job import job
from tasks.monitor import collect, compare, mark_checked, measure_accuracy, report


@job(lambda given, due: f"monitor-{dataset_name(given['dataset'])}-{due}")
def monitor(dataset: str = "imdb") -> CheckOutcome:
    """Compare the texts since the last check with the reviews that the model was trained on.

    1. measure accuracy: in use, from new labels of samples; a drop is told as drift is
    2. collect: the new texts of the log; if they are too few, they are left to the next check
    3. compare: vocabulary, length and score, with the version in use
    4. report: pictures and metrics in MLflow, a table in Prefect; a message if there is drift
    5. mark checked: where the next check begins

    Args:
        dataset: The model's dataset: imdb, sample, or the name of your table.
    """
    with drift_check(dataset) as check:
        found = measure_accuracy(check)
        news = accuracy.news(found)
        told = tuple(f"{each.headline}." for each in news)
        dropped = bool(accuracy.new_drops(news, check.settings))
        texts = collect(check)
        if texts.distinct < (minimum := check.settings.monitor_min_texts):
            few = f"Only {texts.distinct:,} new texts (minimum {minimum:,}); they are left to the next check."
            return CheckOutcome(check.model, texts.distinct, few, accuracy=told, dropped=dropped)
        result = compare(check, texts, [accuracy.section(found)] if found else [])
        run = report(check, texts, result)
        mark_checked(check, texts, result)
    return CheckOutcome(check.model, texts.distinct, f"{result.headline}.", result, run.url, told, dropped)
