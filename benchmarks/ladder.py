"""What each step up from single words is worth on IMDB; writes table and picture of docs/recipes.md.

    python -m benchmarks.ladder

It needs, in the store, five seeds each of ``sentiflow train --recipe ngrams`` and of ``--recipe large --set
ngrams=3``; the same versions without their n-grams are those of ``tuned`` and ``large``.
"""

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
from sentiflow.scoring import is_positive
from sentiflow.settings import Settings, load_settings, project_root
from sentiflow.store.find import load_scorer, open_store
from sentiflow.store.records import Version

BEGIN, END = "<!-- benchmarks.ladder writes from here -->", "<!-- to here, the ladder -->"
PICTURE = project_root() / "docs" / "images" / "ladder.png"
NAME, SEEDS = "imdb-sentiment", range(5)
HEADINGS = ("read", "test accuracy (95% interval)", "gain (95% interval)", "beyond chance")


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
        right = is_positive(fitted.score(test)) == (test.label == 1)
        steps.append(Step(name, right[np.newaxis], steps[-1].name if steps else ""))
    return steps


def of_networks(test: Reviews, settings: Settings) -> list[Step]:
    """One network and four, each alone and beside the n-grams."""
    store = open_store(settings)
    versions = {(v.tags.get("recipe"), v.tags.get("seed")): n for n, v in store.versions(NAME).items()}
    both: dict[str, list[NDArray[np.bool_]]] = {}
    for recipe, network, beside in (
        ("ngrams", "one network (tuned)", "words, pairs, triples and one network (ngrams)"),
        ("large", "four networks (large)", "words, pairs, triples and four networks"),
    ):
        for seed in SEEDS:
            scorer = load_scorer(settings, Version(NAME, versions[recipe, str(seed)], "measured"))
            for name, each in ((network, replace(scorer, ngrams=None)), (beside, scorer)):
                right = is_positive(each.score_ids(test.tokens)) == (test.label == 1)
                both.setdefault(name, []).append(right)
    (one, with_one, four, with_four) = ((name, np.array(right)) for name, right in both.items())
    return [
        Step(*one),
        Step(*with_one, "words, pairs and triples"),
        Step(*four, one[0]),
        Step(*with_four, with_one[0]),
    ]


def cells(steps: list[Step]) -> list[tuple[str, ...]]:
    """A row a step; of five seeds the mean, and the widest ends of the seeds' intervals of the gain."""
    rows, by_name = [], {step.name: step for step in steps}
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
        rows.append((step.name, accuracy, gain, beyond))
    return rows


def draw(steps: list[Step]) -> None:
    """Save the picture: a point a seed, the mean, its interval."""
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for row, step in enumerate(reversed(steps)):
        low, high = step.interval
        axes.plot([100 * low, 100 * high], [row, row], color="0.6", linewidth=5, solid_capstyle="butt")
        axes.plot(100 * step.right.mean(axis=1), [row] * len(step.right), "o", color="black", markersize=3)
        axes.annotate(
            f"{step.right.mean():.2%}", (100 * high, row), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(steps)), [step.name for step in reversed(steps)])
    axes.set(xlabel="test accuracy on IMDB, %; a point a seed, grey the 95% interval of the mean")
    axes.margins(x=0.12)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
