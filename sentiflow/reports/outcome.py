"""What a comparison of runs says first."""

import math
from collections.abc import Sequence

from sentiflow.evaluation.metrics import spread
from sentiflow.evaluation.statistics import beyond_chance, format_interval, format_points
from sentiflow.reports import Text
from sentiflow.reports.summary import RunSummary
from sentiflow.runs import REPEAT
from sentiflow.runs.comparison import AccuracyDifference


def lead(runs: Sequence[RunSummary], outcomes: Sequence[AccuracyDifference]) -> list[Text]:
    """Begin the report of several runs; ``outcomes`` are those of the second and the following ones."""
    told = [*filter(None, (_over_seeds(runs), _of_two(runs, outcomes), _best(runs, outcomes)))]
    sentences = told or ["None of these runs has metrics to compare."]
    return [Text(sentence, strong=i == 0) for i, sentence in enumerate(sentences)]


def _of_two(runs: Sequence[RunSummary], outcomes: Sequence[AccuracyDifference]) -> str:
    if len(runs) != 2 or (paired := outcomes[0].paired) is None:
        return ""
    first, second = (run.in_a_sentence for run in runs)
    interval = f"95% interval {format_interval(paired.low, paired.high)}"
    if not beyond_chance(paired.low, paired.high):
        points = format_points(paired.difference)
        return f"On the same test reviews {second} and {first} differ within chance ({points}, {interval})."
    which = "better" if paired.difference > 0 else "worse"
    points = f"{100 * abs(paired.difference):.2f} points"
    return f"On the same test reviews {second} is {which} than {first} by {points} ({interval})."


def _best(runs: Sequence[RunSummary], outcomes: Sequence[AccuracyDifference]) -> str:
    """The run of the lowest validation loss, and its difference on the test split."""
    best = min(runs, key=lambda run: run.loss)
    if best.loss == math.inf:
        return ""
    if len({run.record.digest for run in runs if run.loss < math.inf}) > 1:
        return "Trained on different reviews: validation losses do not say which run is the best."
    sentence = f"By validation loss {best.in_a_sentence} is the best, with {best.loss:.4f}"
    if best.measured is not None:
        sentence += f": test accuracy {best.measured.accuracy:.2%}"
    if len(runs) > 2 and best.number > 1 and (paired := outcomes[best.number - 2].paired) is not None:
        chance = "beyond chance" if beyond_chance(paired.low, paired.high) else "within chance"
        sentence += f", {format_points(paired.difference)} against {runs[0].in_a_sentence}, {chance}"
    return f"{sentence}."


def _over_seeds(runs: Sequence[RunSummary]) -> str:
    """Mean and spread, if all runs are seeds of one set."""
    records = [run.record for run in runs]
    accuracies = [run.measured.accuracy for run in runs if run.measured is not None]
    seeds = all(record.kind == REPEAT for record in records)
    if not seeds or len({record.parent for record in records}) > 1 or len(accuracies) < len(runs):
        return ""
    over = spread(accuracies)
    return f"Test accuracy over {len(accuracies)} seeds: mean {over.mean:.2%}, {over.text()}."
