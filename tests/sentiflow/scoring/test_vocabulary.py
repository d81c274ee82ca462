"""Tests of words and ids."""

import numpy as np
import pytest

from sentiflow.scoring import Vocabulary, tokenize
from sentiflow.scoring.vocabulary import OFFSET, limit

FILM = Vocabulary(["the", "film", "don't", "good"])  # ids 4, 5, 6, 7


@pytest.mark.parametrize("character", list('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'))
def test_tokenize_splits_at_each_filter_character(character: str) -> None:
    assert tokenize(f"well{character}made") == ["well", "made"]


@pytest.mark.parametrize("space", ["\x0b", "\x0c", "\x85", "\xa0", "\u2003"])
def test_tokenize_keeps_other_white_space_inside_words(space: str) -> None:
    assert tokenize(f"a{space}b c") == [f"a{space}b", "c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ÉCOLE Noël", ["école", "noël"]),
        ("'Don't' boys'", ["'don't'", "boys'"]),
        ("so\r\ngood\r\n", ["so", "good"]),
        (" ... oh --  no!!! ", ["oh", "no"]),
        ("", []),
        ("?!\n\t...", []),
    ],
)
def test_words_are_lower_case_and_never_empty(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@pytest.mark.parametrize(
    ("text", "ids"), [("The FILM: good!", [1, 4, 5, 7]), ("a good, unseen film", [1, 7, 5]), ("", [1])]
)
def test_a_text_is_the_start_marker_and_the_ids_of_its_known_words(text: str, ids: list[int]) -> None:
    assert FILM.encode(text) == ids
    assert FILM.encode("the good") == [1, OFFSET + 1, OFFSET + 4]  # ranks 1 and 4


@pytest.mark.parametrize(
    ("ids", "unknown", "text"),
    [
        # 0 pads; 1 starts; 2 and 3 are reserved; 8 and 99 lie beyond the last word
        ([0, 0, 1, 4, 2, 3, 7, 8, 99], "?", "? the ? ? good ? ?"),
        ([1, 5, 2], "<?>", "<?> film <?>"),
        ([1, 4, 2, 5], "", "the film"),
        (np.array([0, 1, 6], np.int32), "?", "? don't"),
    ],
)
def test_ids_become_words_without_padding(ids: list[int], unknown: str, text: str) -> None:
    assert FILM.decode(ids, unknown) == text


def test_ids_of_known_words_survive_decode_and_encode() -> None:
    ids = [1, 4, 7, 5, 6, 4]
    assert FILM.encode(FILM.decode(ids, unknown="")) == ids


def test_limit_of_ten_thousand_keeps_rank_9996_and_loses_rank_9997() -> None:
    vocabulary = Vocabulary([f"w{rank}" for rank in range(1, 9_999)])
    ids = np.array(vocabulary.encode("w9996 w9997"), dtype=np.int32)
    assert limit(ids, 10_000).tolist() == [1, 9_999, 2]


def test_a_word_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(["a", "b", "a"])
