"""Tests on the real reviews; they need a mirror."""

import keras
import numpy as np
import pytest

from sentiflow.data import imdb as module
from sentiflow.data.prepare import describe
from sentiflow.data.reviews import Reviews
from sentiflow.scoring import Vocabulary
from sentiflow.scoring.vocabulary import limit
from sentiflow.settings import Settings
from sentiflow.training.recipes import TUTORIAL

pytestmark = pytest.mark.story

# The first training review, as the tutorial prints it.
FIRST_IDS = [
    1, 14, 22, 16, 43, 530, 973, 1622, 1385, 65, 458, 4468, 66, 3941, 4, 173, 36, 256, 5, 25, 100, 43,
    838, 112, 50, 670, 2, 9, 35, 480, 284, 5, 150, 4, 172, 112, 167, 2, 336, 385, 39, 4, 172, 4536, 1111,
    17, 546, 38, 13, 447, 4, 192, 50, 16, 6, 147, 2025, 19, 14, 22, 4, 1920, 4613, 469, 4, 22, 71, 87,
    12, 16, 43, 530, 38, 76, 15, 13, 1247, 4, 22, 17, 515, 17, 12, 16, 626, 18, 2, 5, 62, 386, 12, 8,
    316, 8, 106, 5, 4, 2223, 5244, 16, 480, 66, 3785, 33, 4, 130, 12, 16, 38, 619, 5, 25, 124, 51, 36,
    135, 48, 25, 1415, 33, 6, 22, 12, 215, 28, 77, 52, 5, 14, 407, 16, 82, 2, 8, 4, 107, 117, 5952, 15,
    256, 4, 2, 7, 3766, 5, 723, 36, 71, 43, 530, 476, 26, 400, 317, 46, 7, 4, 2, 1029, 13, 104, 88, 4,
    381, 15, 297, 98, 32, 2071, 56, 26, 141, 6, 194, 7486, 18, 4, 226, 22, 21, 134, 476, 26, 480, 5, 144,
    30, 5535, 18, 51, 36, 28, 224, 92, 25, 104, 4, 226, 65, 16, 38, 1334, 88, 12, 16, 283, 5, 16, 4472,
    113, 103, 32, 15, 16, 5345, 19, 178, 32,
]  # fmt: skip
Imdb = tuple[Reviews, Vocabulary]


def test_the_first_training_review_is_the_tutorials(imdb: Imdb) -> None:
    assert len(FIRST_IDS) == 218
    facts = describe(*imdb, TUTORIAL.vocabulary_size, TUTORIAL.sequence_length)
    assert (list(facts.first_ids), facts.first_label) == (FIRST_IDS, 1)
    assert facts.first_text.startswith("? this film was just brilliant casting location scenery story direction ")


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_split_has_25000_reviews_half_of_them_positive(imdb: Imdb, split: str) -> None:
    labels = imdb[0].of(split).label
    assert (len(labels), int((labels == 1).sum()), int((labels == 0).sum())) == (25_000, 12_500, 12_500)


def test_the_words_and_the_mean_length_are_the_published_ones(imdb: Imdb) -> None:
    assert (len(imdb[1]), imdb[1].words[0]) == (88_584, "the")
    assert round(float(imdb[0].n_tokens.mean()), 2) == 234.76


def test_the_last_fifth_of_the_training_split_is_held_back(imdb: Imdb) -> None:
    training, validation = imdb[0].learning_splits(0.2)
    assert (len(training), validation.review_id[0], validation.review_id[-1]) == (
        20_000,
        "train-20000",
        "train-24999",
    )


def test_a_fifth_of_the_reviews_survives_as_text(imdb: Imdb) -> None:
    """Ids to text to ids: red if a word of the index is split, lowered or dropped by the tokeniser."""
    reviews, vocabulary = imdb
    changed = [
        reviews.review_id[i]
        for i in range(0, len(reviews), 5)
        if vocabulary.encode(vocabulary.decode(reviews.tokens[i], unknown="")) != reviews.tokens[i].tolist()
    ]
    assert changed == []


def test_every_word_of_the_index_without_a_capital_is_one_word_to_the_tokeniser(imdb: Imdb) -> None:
    """21 words keep a capital letter beyond ASCII (Åge, Álex), which no lowered text can hold."""
    vocabulary = imdb[1]
    changed = [word for i, word in enumerate(vocabulary.words) if vocabulary.encode(word) != [1, i + 4]]
    assert changed == [word for word in vocabulary.words if word != word.lower()]


@pytest.fixture(scope="module")
def loaded_by_keras(imdb_settings: Settings, imdb: Imdb) -> tuple[tuple[np.ndarray, np.ndarray], ...]:  # noqa: ARG001
    """What `load_data` makes of the same file; only its download is replaced, as it knows one hash."""
    reviews_file = module.addresses(imdb_settings)[0].target(imdb_settings.data_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras.src.datasets.imdb.get_file", lambda *_arguments, **_options: str(reviews_file))
        return keras.datasets.imdb.load_data(num_words=10_000)


@pytest.mark.parametrize(("position", "split"), [(0, "train"), (1, "test")])
def test_reviews_and_labels_stand_as_keras_loads_them(
    imdb: Imdb, loaded_by_keras: tuple[tuple[np.ndarray, np.ndarray], ...], position: int, split: str
) -> None:
    ours = imdb[0].of(split)
    theirs, labels = loaded_by_keras[position]
    np.testing.assert_array_equal(ours.label, labels)
    np.testing.assert_array_equal(ours.n_tokens, [len(ids) for ids in theirs])
    np.testing.assert_array_equal(limit(np.concatenate(ours.tokens), 10_000), np.concatenate(theirs))


def test_padding_equals_keras_pad_sequences(imdb: Imdb) -> None:
    """Every fiftieth test review, short and long ones among them."""
    some = imdb[0].of("test").take(np.arange(0, 25_000, 50))
    theirs = keras.utils.pad_sequences([limit(ids, 10_000) for ids in some.tokens], maxlen=500)
    np.testing.assert_array_equal(some.padded(500, 10_000), theirs)
