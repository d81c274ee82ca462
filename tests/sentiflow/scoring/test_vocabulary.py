"""Tests of words and ids."""

import numpy as np
import pytest

from sentiflow.scoring import Vocabulary, tokenize
from sentiflow.scoring.vocabulary import OFFSET, limit

FILM = Vocabulary(["the", "film", "don't", "good"])  # ids 4, 5, 6, 7


@pytest.mark.parametrize("character", list('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'))
def test_tokenize_splits_at_each_filter_character(character: str) -> None:
    assert tokenize(f"well{character}made") == ["well", "made"]


def test_tokenize_lowers_letters_beyond_ascii() -> None:
    assert tokenize("ÉCOLE Noël") == ["école", "noël"]


def test_tokenize_keeps_apostrophes() -> None:
    assert tokenize("'Don't' boys'") == ["'don't'", "boys'"]


@pytest.mark.parametrize("space", ["\x0b", "\x0c", "\x85", "\xa0", "\u2003"])
def test_tokenize_keeps_other_white_space_inside_words(space: str) -> None:
    assert tokenize(f"a{space}b c") == [f"a{space}b", "c"]


def test_lines_of_windows_have_the_words_of_others() -> None:
    assert tokenize("so\r\ngood\r\n") == ["so", "good"]


def test_tokenize_drops_empty_words_between_marks() -> None:
    assert tokenize(" ... oh --  no!!! ") == ["oh", "no"]


@pytest.mark.parametrize("text", ["", "   ", "?!\n\t..."])
def test_tokenize_finds_no_word_in_marks_alone(text: str) -> None:
    assert tokenize(text) == []


def test_encode_begins_with_the_start_marker_and_adds_three_to_ranks() -> None:
    assert FILM.encode("The FILM: good!") == [1, 4, 5, 7]


def test_the_offset_leads_from_ranks_to_ids() -> None:
    assert FILM.encode("the good") == [1, OFFSET + 1, OFFSET + 4]  # ranks 1 and 4


def test_encode_drops_words_without_a_rank() -> None:
    assert FILM.encode("a good, unseen film") == [1, 7, 5]


def test_encode_of_an_empty_text_is_the_start_marker_alone() -> None:
    assert FILM.encode("") == [1]


def test_decode_shows_start_and_unknown_ids_and_hides_padding() -> None:
    # 0 pads; 1 starts; 2 and 3 are reserved; 8 and 99 lie beyond the last word
    assert FILM.decode([0, 0, 1, 4, 2, 3, 7, 8, 99]) == "? the ? ? good ? ?"


def test_decode_takes_a_marker_of_ones_own() -> None:
    assert FILM.decode([1, 5, 2], unknown="<?>") == "<?> film <?>"


def test_decode_with_an_empty_marker_leaves_no_double_space() -> None:
    assert FILM.decode([1, 4, 2, 5], unknown="") == "the film"


def test_decode_reads_numpy_ids() -> None:
    assert FILM.decode(np.array([0, 1, 6], dtype=np.int32)) == "? don't"


def test_ids_of_known_words_survive_decode_and_encode() -> None:
    ids = [1, 4, 7, 5, 6, 4]
    assert FILM.encode(FILM.decode(ids, unknown="")) == ids


def test_limit_of_ten_thousand_keeps_rank_9996_and_loses_rank_9997() -> None:
    vocabulary = Vocabulary([f"w{rank}" for rank in range(1, 9_999)])
    ids = np.array(vocabulary.encode("w9996 w9997"), dtype=np.int32)
    assert limit(ids, 10_000).tolist() == [1, 9_999, 2]


def test_limit_leaves_its_argument_alone() -> None:
    ids = np.array([1, 50], dtype=np.int32)
    limit(ids, 10)
    assert ids.tolist() == [1, 50]


def test_from_texts_ranks_by_frequency_then_by_the_alphabet() -> None:
    # c three times; b and d twice; a and e once
    vocabulary = Vocabulary.from_texts(["d c e", "C, b! d", "b c a"])
    assert vocabulary.words == ("c", "b", "d", "a", "e")


def test_from_texts_does_not_depend_on_the_order_of_texts() -> None:
    texts = ["z y x", "x y", "w z"]
    assert Vocabulary.from_texts(texts).words == Vocabulary.from_texts(texts[::-1]).words


def test_a_word_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(["a", "b", "a"])


def test_length_counts_words_without_reserved_ids() -> None:
    assert len(FILM) == 4
