"""Look into a trained SimpleRNN: its state over the words of a review, and how far back its learning reaches.

    python examples/state.py 1 --figure state.png

1 is a version of imdb-sentiment that the recipe ``tutorial`` made, or another with one network, one direction and
the last state.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from sentiflow.data import reviews
from sentiflow.data.prepare import fetch, prepare
from sentiflow.scoring import TextScorer, Weights, tokenize
from sentiflow.settings import load_settings
from sentiflow.store.find import load_scorer
from sentiflow.store.records import Version

TEXT = (
    "The first hour is wonderful: a great cast, lovely music, and a story that moves. "
    "Then nothing happens. The jokes are awful, and the end is a waste of time."
)
SHOWN = 12  # zeros in front of the text
REVIEWS = 200  # for the reach of the gradient


def read(weights: Weights, ids: np.ndarray) -> np.ndarray:
    """The state after each id, shape (steps, units): tanh of word, old state and bias, step by step."""
    state, states = np.zeros(weights.recurrent_kernel.shape[0]), []
    for word in weights.embedding[ids].astype(float):
        state = np.tanh(word @ weights.kernel + state @ weights.recurrent_kernel + weights.bias)
        states.append(state)
    return np.array(states)


def score(weights: Weights, states: np.ndarray) -> np.ndarray:
    """The score that each state would give, shape (steps,)."""
    return 1 / (1 + np.exp(-(states @ weights.dense_kernel[:, 0] + weights.dense_bias[0])))


def reach(weights: Weights, states: np.ndarray) -> np.ndarray:
    """How much the last score depends on each state: the length of its gradient, the last state's being 1.

    Backpropagation through time: from a state to the one before it the gradient goes through the slope of tanh and
    then through the recurrent kernel.
    """
    gradient = weights.dense_kernel[:, 0].astype(float)
    lengths = [np.linalg.norm(gradient)]
    for state in states[:0:-1]:
        gradient = weights.recurrent_kernel @ (gradient * (1 - state**2))
        lengths.append(np.linalg.norm(gradient))
    return np.array(lengths[::-1]) / lengths[0]


def padded(scorer: TextScorer, known: list[int]) -> np.ndarray:
    """Ids as the network reads them: the last ones, or zeros in front unless it leaves those out."""
    known = [i if i < len(scorer.weights.embedding) else 2 for i in known][-scorer.sequence_length :]
    zeros = 0 if scorer.weights.mask_zero else scorer.sequence_length - len(known)
    return np.array([0] * zeros + known)


def reaches(scorer: TextScorer) -> np.ndarray:
    """The reach over the last 100 words of test reviews that have as many, shape (REVIEWS, 100)."""
    settings = load_settings()
    test = reviews.read(prepare(fetch("imdb", settings), settings).table).of("test")
    long = [ids for ids in test.tokens if len(ids) >= 101][:REVIEWS]
    return np.array([reach(scorer.weights, read(scorer.weights, padded(scorer, [*ids])))[-100:] for ids in long])


def draw(scorer: TextScorer, lengths: np.ndarray, path: Path) -> None:
    """Save a picture: states over the words, the score after each, and the reach."""
    words = tokenize(TEXT)
    ids = padded(scorer, scorer.vocabulary.encode(TEXT))
    states = read(scorer.weights, ids)[-len(words) - 1 - SHOWN :]
    scores = score(scorer.weights, states)
    figure, (above, middle, below) = plt.subplots(
        3, 1, figsize=(11, 9), height_ratios=(3, 1.2, 2), layout="constrained"
    )
    order = np.argsort(scorer.weights.dense_kernel[:, 0])[::-1]
    image = above.imshow(states.T[order], aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=above, pad=0.01)
    above.set(title="State of the units after each word", yticks=[], ylabel="units, the most positive above")
    above.set_xticks([])
    middle.plot(scores, ".-", color="black")
    middle.axhline(0.5, color="grey", linewidth=0.5)
    middle.set(title="Score, if the text ended here", ylim=(0, 1), xlim=(-0.5, len(states) - 0.5))
    middle.set_xticks(range(len(states)), [*["·"] * (len(states) - len(words) - 1), "start", *words], rotation=60)
    for tick in middle.get_xticklabels():
        tick.set(ha="right", rotation_mode="anchor")
    back = np.arange(lengths.shape[1])[::-1]
    low, typical, high = np.quantile(lengths, (0.1, 0.5, 0.9), axis=0)
    below.fill_between(back, low, high, alpha=0.2, label=f"8 of 10 of {len(lengths)} test reviews")
    below.plot(back, typical, label="median")
    below.set(yscale="log", xlabel="words before the end", title="How much the score depends on the state then")
    below.yaxis.set_major_formatter("{x:g}")
    below.legend()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Print how zeros move the score and how far a gradient reaches, and save the picture of both."""
    parser = argparse.ArgumentParser(description="Look into a version of imdb-sentiment.")
    parser.add_argument("version", type=int, help="its number, as sentiflow versions shows it")
    parser.add_argument("--figure", type=Path, help="where to save the picture (.png, .svg)")
    chosen = parser.parse_args()
    scorer = load_scorer(load_settings(), Version("imdb-sentiment", chosen.version, "asked for"))
    weights = scorer.weights
    if len(weights.members) > 1 or len(weights.directions) > 1 or weights.pooling != "last":
        raise SystemExit("Several networks, two directions or a mean: choose a version of the recipe tutorial.")
    if not weights.mask_zero:
        zeros = score(weights, read(weights, np.zeros(scorer.sequence_length, int)))
        print("The score after zeros alone:")
        for count in (1, 2, 5, 10, 100, scorer.sequence_length):
            print(f"  {count:3}  {zeros[count - 1]:.2f}")
    lengths = reaches(scorer)
    print(f"How much the score depends on the state some words before the end, median of {len(lengths)} reviews:")
    for back in (1, 5, 10, 20, 50, 99):
        print(f"  {back:2}  {np.median(lengths[:, -1 - back]):.3g}")
    if chosen.figure:
        draw(scorer, lengths, chosen.figure)
        print(f"Saved {chosen.figure}.")


if __name__ == "__main__":
    main()
