"""What each step up from single words is worth on IMDB; writes table and picture of docs/recipes.md.

    python -m benchmarks.ladder

It takes the seeds that it finds in the store of ``sentiflow train --recipe ngrams`` and of ``--recipe large --set
ngrams=3``. The same versions without their n-grams are those of ``tuned`` and ``large``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks import table
from sentiflow import baselines
from sentiflow.data import reviews
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.reviews import Reviews
from sentiflow.evaluation.statistics import compare, format_interval, wilson
from sentiflow.reports.blocks import Table
from sentiflow.scoring import TextScorer, is_positive
from sentiflow.settings import Settings, load_settings, project_root
from sentiflow.store.find import load_scorer, open_store
from sentiflow.store.records import Version

BEGIN, END = "<!-- benchmarks.ladder writes from here -->", "<!-- to here, the ladder -->"
PICTURE = project_root() / "docs" / "images" / "ladder.png"
NAME = "imdb-sentiment"
HEADINGS = ("read", "seeds", "test accuracy (95% interval)", "gain (95% interval)", "beyond chance")


@dataclass(frozen=True)
class Step:
    """What is read, and which test reviews are right, a row a seed; it is compared with the step named."""

    name: str
    right: NDArray[np.bool_]  # (seeds, n)
    below: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean accuracy, as if one model had it."""
        return wilson(round(float(self.right.sum(axis=1).mean())), self.right.shape[1])


def main() -> None:
    settings = load_settings()
    content = reviews.read(prepare(fetch("imdb", settings), settings).table)
    steps = [*of_ngrams(content), *of_networks(content.of("test"), settings)]
    text = Table(HEADINGS, cells(steps), words=1).markdown()
    draw(steps)
    table.put_into(table.RECIPES_PAGE, text, BEGIN, END)


def of_ngrams(content: Reviews) -> list[Step]:
    """The baseline on words, on pairs, too, and on triples; its training has no seed."""
    test, names = content.of("test"), ("words", "words and pairs", "words, pairs and triples")
    steps: list[Step] = []
    for longest, name in enumerate(names, start=1):
        fitted = baselines.fit(*content.learning_splits(0.2), longest)
        correct = is_positive(fitted.score(test)) == (test.label == 1)
        steps.append(Step(name, correct[np.newaxis], steps[-1].name if steps else ""))
    return steps


def of_networks(test: Reviews, settings: Settings) -> list[Step]:
    """One network and four, each alone and beside the n-grams; what was never trained is left out."""
    store = open_store(settings)
    versions = {(v.tags.get("recipe"), v.tags.get("seed")): v.number for v in store.versions(NAME)}
    steps = []
    for recipe, network, beside, (below, below_both) in (
        ("ngrams", "one network (tuned)", "words, pairs, triples and one network (ngrams)",
         ("", "words, pairs and triples")),
        ("large", "four networks (large)", "words, pairs, triples and four networks",
         ("one network (tuned)", "words, pairs, triples and one network (ngrams)")),
    ):  # fmt: skip
        numbers = [number for (of, _), number in sorted(versions.items(), key=str) if of == recipe]
        scorers = [load_scorer(settings, Version(NAME, number, "measured")) for number in numbers]
        if scorers:
            alone = [replace(scorer, ngrams=None) for scorer in scorers]
            steps += [Step(network, right(alone, test), below), Step(beside, right(scorers, test), below_both)]
    return steps


def right(scorers: Sequence[TextScorer], test: Reviews) -> NDArray[np.bool_]:
    """Which test reviews each scorer has right, a row a scorer."""
    return np.array([is_positive(scorer.score_ids(test.tokens)) == (test.label == 1) for scorer in scorers])


def cells(steps: list[Step]) -> list[tuple[str, ...]]:
    """A row a step; of five seeds the mean, and the widest ends of the seeds' intervals of the gain."""
    rows: list[tuple[str, ...]] = []
    by_name = {step.name: step for step in steps}
    for step in steps:
        low, high = step.interval
        accuracy = f"{step.right.mean():.2%} ({low:.2%} to {high:.2%})"
        gain, beyond = "", ""
        if step.below:
            others = by_name[step.below].right
            found = [compare(mine, others[k % len(others)]) for k, mine in enumerate(step.right)]
            ends = format_interval(min(each.low for each in found), max(each.high for each in found))
            gain = f"{100 * np.mean([each.difference for each in found]):+.2f} points ({ends}) to {step.below}"
            beyond = f"{sum(each.low > 0 for each in found)} of {len(found)}"
        rows.append((step.name, str(len(step.right)), accuracy, gain, beyond))
    return rows


def draw(steps: list[Step]) -> None:
    """Save the picture: a point a seed, the mean, its interval."""
    figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
    for row, step in enumerate(reversed(steps)):
        low, high = step.interval
        axes.plot([100 * low, 100 * high], [row, row], color="0.6", linewidth=5, solid_capstyle="butt")
        axes.plot(100 * step.right.mean(axis=1), [row] * len(step.right), "o", color="black", markersize=3)
        axes.annotate(
            f"{step.right.mean():.2%}", (100 * high, row), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(steps)), [step.name for step in reversed(steps)])
    axes.set(xlabel="test accuracy, %; a point a seed, grey: 95% interval")
    axes.margins(x=0.16)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
