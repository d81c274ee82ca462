"""The version in use, and the way to it, which whoever starts the service provides."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sentiment.scoring import TextScorer

_CHECK = "A quiet film that stays with you, although the ending was a mess."


@dataclass(frozen=True)
class Champion:
    """What a registry says of the version in use.

    Attributes:
        name: of the registered model.
        number: of the version.
        run_id: of the training that made it; None when it is not known.
        accuracy: on the test split, 0 to 1; None when it is not known.
        location: URI of its files.
    """

    name: str
    number: int
    run_id: str | None
    accuracy: float | None
    location: str


@dataclass(frozen=True)
class Loaded:
    """A champion, ready to score."""

    champion: Champion
    scorer: TextScorer


@dataclass(frozen=True)
class Source:
    """How the service reaches the registry; both calls may take seconds and may raise.

    Attributes:
        find: the champion, or None when there is none.
        load: what a champion scores with.
        absent: what to tell who asks while there is none: what is the matter, and what to do.
    """

    find: Callable[[], Champion | None]
    load: Callable[[Champion], TextScorer]
    absent: str


def load(source: Source, champion: Champion) -> Loaded:
    """Load a champion, and let it score and explain a text, so that nobody's request is the first.

    Raises:
        ValueError: what it says makes no sense.
        Exception: whatever loading raises.
    """
    scorer = source.load(champion)
    (score,), told = scorer.score([_CHECK], threads=1), scorer.explain(_CHECK).score
    if not 0 <= score <= 1 or not np.isclose(score, told, rtol=0, atol=1e-9):
        raise ValueError(f"a text scores {score}, and {told} word by word")
    return Loaded(champion, scorer)
