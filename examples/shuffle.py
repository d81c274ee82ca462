"""What the order of words is worth: score IMDB's test reviews as they are, and with the words of each shuffled.

    python examples/shuffle.py 2

2 is a version of imdb-sentiment. One with n-grams, as the recipe ``ngrams`` makes it, is also taken apart.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sentiflow.data import reviews
from sentiflow.data.prepare import fetch, prepare
from sentiflow.evaluation.statistics import compare, format_interval
from sentiflow.scoring import TextScorer, is_positive
from sentiflow.settings import load_settings
from sentiflow.store.find import load_scorer
from sentiflow.store.records import Version

Texts = Sequence[np.ndarray]  # ids of each review, the start marker first


def parts_of(scorer: TextScorer) -> dict[str, Callable[[Texts], np.ndarray]]:
    """What says which of some texts are positive: all of a scorer, and each of its parts."""
    if scorer.ngrams is None:
        return {"network": lambda texts: is_positive(scorer.score_ids(texts))}
    ngrams, network = scorer.ngrams, replace(scorer, ngrams=None)
    return {
        "network": lambda texts: is_positive(network.score_ids(texts)),
        "n-grams": lambda texts: ngrams.log_odds(texts) > 0,
        "both": lambda texts: is_positive(scorer.score_ids(texts)),
    }


def shuffled(texts: Texts, seed: int = 0) -> list[np.ndarray]:
    """The same words, each review's in an order drawn from the seed, after its start marker."""
    draw = np.random.default_rng(seed)
    return [np.concatenate([ids[:1], draw.permutation(ids[1:])]) for ids in texts]


def main() -> None:
    """Print the accuracy of each part, in order and shuffled, and the difference in points."""
    parser = argparse.ArgumentParser(
        description="What the order of words is worth to a version of imdb-sentiment."
    )
    parser.add_argument("version", type=int, help="its number, as sentiflow versions shows it")
    settings = load_settings()
    scorer = load_scorer(settings, Version("imdb-sentiment", parser.parse_args().version, "asked for"))
    test = reviews.read(prepare(fetch("imdb", settings), settings).table).of("test")
    mixed = shuffled(test.tokens)
    print("          in order  shuffled  points (95% interval)")
    for name, answers in parts_of(scorer).items():
        before, after = (answers(texts) == (test.label == 1) for texts in (test.tokens, mixed))
        found = compare(after, before)
        points = f"{100 * found.difference:+.2f} ({format_interval(found.low, found.high)})"
        print(f"{name:8}  {before.mean():8.2%}  {after.mean():8.2%}  {points}")


if __name__ == "__main__":
    main()
