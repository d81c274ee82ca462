"""Which baselines there are."""

from collections.abc import Sequence
from typing import Literal, get_args

from sentiment.errors import UsageError

Name = Literal["majority", "tfidf", "embeddings", "gru", "lstm"]
NAMES: tuple[Name, ...] = get_args(Name)
"""In the order of their running: the quick ones first, so that what fails soon does."""

ABOUT: dict[Name, str] = {
    "majority": "the more frequent label, whatever the review",
    "tfidf": "logistic regression on TF-IDF of the words: which words, in no order",
    "embeddings": "mean of the words' embeddings and a dense layer: likewise, learnt",
    "gru": "a GRU in place of the SimpleRNN",
    "lstm": "an LSTM in place of the SimpleRNN",
}


def choose(only: Sequence[str]) -> tuple[Name, ...]:
    """The baselines of these names, each once, in the order of their running; all of them for no name.

    Raises:
        UsageError: there is no such baseline.

    Example:
        >>> choose(["lstm", "majority"])
        ('majority', 'lstm')
    """
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise UsageError(f"No baseline is named {unknown[0]!r}.", f"There are: {', '.join(NAMES)}.")
    return tuple(name for name in NAMES if name in only or not only)
