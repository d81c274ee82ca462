"""What must hold of a canonical table before anything is trained on it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa

from sentiment.data.imdb import REVIEWS_PER_SPLIT
from sentiment.data.reviews import SPLITS, Reviews
from sentiment.errors import WorldError
from sentiment.scoring import START, Vocabulary
from sentiment.scoring.vocabulary import FIRST_WORD


@dataclass(frozen=True)
class Expected:
    """What is known of a dataset beforehand: reviews and positive reviews of each split."""

    reviews: int
    positive: int


KNOWN = {"imdb": Expected(REVIEWS_PER_SPLIT, REVIEWS_PER_SPLIT // 2)}


def check(name: str, reviews: Reviews, vocabulary: Vocabulary) -> None:
    """Check counts, balance, id range and empty reviews.

    Raises:
        WorldError: the first rule that does not hold, with what was expected and what came.
    """
    _check_counts(name, reviews)
    schema = _schema(FIRST_WORD + len(vocabulary) - 1)
    try:
        schema.validate(_facts(reviews), lazy=True)
    except pa.errors.SchemaErrors as err:
        first = err.failure_cases.iloc[0]
        broken = (err.failure_cases["check"] == first["check"]).sum()
        review = reviews.review_id[int(first["index"])]
        raise WorldError(
            f"Dataset {name}: {first['check']}: {broken:,} reviews, the first is {review} "
            f"({first['column']} = {first['failure_case']}).",
            "The source is not what it should be; nothing was trained on it.",
        ) from err


def _schema(last_id: int) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {
            "split": pa.Column(str, pa.Check.isin(SPLITS, error=f"splits are {', '.join(SPLITS)}")),
            "label": pa.Column("int8", pa.Check.isin([0, 1], error="labels are 0 and 1")),
            "n_tokens": pa.Column("int32", pa.Check.ge(2, error="every review holds a word")),
            "first_id": pa.Column("int32", pa.Check.eq(START, error="a review begins with the start marker")),
            "lowest_id": pa.Column("int32", pa.Check.ge(FIRST_WORD, error=f"ids begin at {FIRST_WORD}")),
            "highest_id": pa.Column("int32", pa.Check.le(last_id, error=f"ids end at {last_id}")),
        }
    )


def _facts(reviews: Reviews) -> pd.DataFrame:
    words = [ids[1:] if len(ids) > 1 else np.array([FIRST_WORD], np.int32) for ids in reviews.tokens]
    return pd.DataFrame(
        {
            "split": reviews.split.astype(object),
            "label": reviews.label,
            "n_tokens": reviews.n_tokens,
            "first_id": np.array([ids[0] if len(ids) else 0 for ids in reviews.tokens], np.int32),
            "lowest_id": np.array([ids.min() for ids in words], np.int32),
            "highest_id": np.array([ids.max() for ids in words], np.int32),
        }
    )


def _check_counts(name: str, reviews: Reviews) -> None:
    for split in ("train", "test"):
        labels = reviews.label[reviews.split == split]
        found = Expected(len(labels), int((labels == 1).sum()))
        expected = KNOWN.get(name)
        if expected and found != expected:
            raise WorldError(
                f"Dataset {name}, {split} split: expected {expected.reviews:,} reviews, {expected.positive:,} "
                f"of them positive; got {found.reviews:,} and {found.positive:,}.",
                "The source is not the published dataset; nothing was trained on it.",
            )
        if not 0 < found.positive < found.reviews:
            raise WorldError(
                f"Dataset {name}, {split} split: expected reviews of both labels; "
                f"got {found.positive:,} positive of {found.reviews:,}."
            )
