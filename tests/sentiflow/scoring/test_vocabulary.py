"""Tests of words and ids."""

import numpy as np
import pytest

from sentiflow.scoring import Vocabulary, tokenize
from sentiflow.scoring.vocabulary import OFFSET, limit, spaces

FILM = Vocabulary(["the", "film", "don't", "good"])  # ids 4, 5, 6, 7


@pytest.mark.parametrize("character", list('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'))
def test_tokenize_splits_at_each_filter_character(character: str) -> None:
    assert tokenize(f"well{character}made") == ["well", "made"]


@pytest.mark.parametrize("space", ["\x0b", "\x0c", "\x85", "\xa0", "\u2003"])
def test_words_that_hold_white_space_keep_it(space: str) -> None:
    assert tokenize(f"a{space}b c", apart=False) == [f"a{space}b", "c"]
    assert Vocabulary([f"a{space}b"]).tokenize(f"A{space}b c") == [f"a{space}b", "c"]
    assert Vocabulary(["a"]).tokenize(f"a{space}b") == (["a", "b"] if space in "\xa0\u2003" else [f"a{space}b"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("很好吃，OK吗?", ["很", "好", "吃", "，", "ok", "吗"]),
        ("ラーメンが美味", ["ラ", "ー", "メ", "ン", "が", "美", "味"]),
        ("ｶﾞ", ["ｶ", "ﾞ"]),
        ("ข้าวดี ๆ", ["ข้", "า", "ว", "ดี", "ๆ"]),  # vowels above and tones are marks of their letter
        ("ດີ", ["ດີ"]),
        ("ភាសា", ["ភា", "សា"]),
        ("ကောင်း", ["ကော", "င်း"]),
        ("한국어 책", ["한국어", "책"]),  # written with spaces
        ("हिन्दी", ["हिन्दी"]),
        ("привет\u3000мир", ["привет", "мир"]),
        ("𠮷野", ["𠮷", "野"]),
    ],
)
def test_scripts_without_spaces_are_read_character_by_character(text: str, words: list[str]) -> None:
    assert tokenize(text) == words
    assert Vocabulary(words).tokenize(text) == words


def test_a_vocabulary_of_before_reads_texts_as_it_was_made() -> None:
    assert Vocabulary(["很好吃", "饭"]).tokenize("很好吃 饭") == ["很好吃", "饭"]
    assert Vocabulary(["ok很"]).tokenize("很好吃") == ["很好吃"]


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


def test_words_are_shown_with_spaces_but_for_single_characters() -> None:
    words = tokenize("很好，OK 吃 ดี ที่ so so")
    assert [*map(str.__add__, spaces(words), words)] == ["很", "好", "，", " ok", " 吃", "ดี", "ที่", " so", " so"]
    assert spaces([]) == []
