"""The baselines against other ways to them and sums by hand: TF-IDF, words and pairs, the table."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sentiflow.baselines import (
    ABOUT,
    BIGRAM_STRENGTHS,
    HEADINGS,
    NAMES,
    STRENGTHS,
    Row,
    choose,
    counts,
    features,
    fit,
    log_count_ratio,
    markdown,
    parameters_of,
)
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Measured
from sentiflow.evaluation.statistics import compare
from sentiflow.training.recipes import TUNED, TrainConfig

# ids 4 to 11: eight words, the first two of which give the label
CONFIG = TrainConfig(
    recipe="tiny", vocabulary_size=12, sequence_length=6, embedding_size=3, units=4, epochs=2, batch_size=8
)


def generated_reviews(n: int, seed: int, split: str = "train") -> Reviews:
    """Reviews of 2 to 8 ids whose label follows from one word: 4 in positive ones, 5 in negative ones."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % 2).astype(np.int8)
    tokens = [
        np.array([1, 4 if positive else 5, *rng.integers(6, 12, rng.integers(0, 7))], np.int32)
        for positive in label
    ]
    return Reviews(np.array([f"{split}-{i}" for i in range(n)]), np.full(n, split), label, tokens)


def blurred(reviews: Reviews) -> Reviews:
    """Every fifth label turned, so that the strength of the penalty makes a difference."""
    label = reviews.label.copy()
    label[::5] = 1 - label[::5]
    return replace(reviews, label=label)


@pytest.fixture
def config() -> TrainConfig:
    return CONFIG


LEARNT, HELD_BACK, OTHERS = generated_reviews(60, 1), generated_reviews(30, 2), generated_reviews(20, 3)


def as_text(reviews: Reviews) -> list[str]:
    """The last six ids of each review as words, without the start marker."""
    return [" ".join(f"w{token}" for token in ids[-6:] if token >= 4) for ids in reviews.tokens]


def test_counts_are_of_what_a_network_reads(config: TrainConfig) -> None:
    tokens = [np.array([1, 4, 5, 5, 6, 7, 8, 5], np.int32), np.array([1, 11, 12, 4], np.int32)]
    reviews = Reviews(np.array(["a", "b"]), np.full(2, "train"), np.array([0, 1], np.int8), tokens)
    # The first is cut in front to 5 5 6 7 8 5; of the second, 12 is out of the vocabulary. Columns: ids 4 to 11.
    assert counts(reviews, config).toarray().tolist() == [[0, 3, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]


def test_scores_are_those_of_another_way_to_the_same_model(config: TrainConfig) -> None:
    learnt, held_back = blurred(LEARNT), blurred(HELD_BACK)
    vectoriser = TfidfVectorizer(
        sublinear_tf=True, token_pattern=r"\S+", vocabulary=[f"w{i}" for i in range(4, 12)]
    )
    rows = vectoriser.fit_transform(as_text(learnt))
    losses = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000).fit(rows, learnt.label)
        scores = model.predict_proba(vectoriser.transform(as_text(held_back)))[:, 1]
        losses[strength] = -np.log(np.where(held_back.label == 1, scores, 1 - scores)).mean(), model
    expected, best = min(losses.values(), key=lambda one: one[0])
    fitted = fit("tfidf", learnt, held_back, config)
    assert losses[fitted.found["C"]][1] is best
    assert fitted.val_loss == pytest.approx(expected, abs=1e-6)
    others = best.predict_proba(vectoriser.transform(as_text(OTHERS)))[:, 1]
    assert fitted.score(OTHERS) == pytest.approx(others, abs=1e-6)


def test_validation_reviews_choose_and_are_not_learnt_from(config: TrainConfig) -> None:
    """Whatever they are, the model is one of the five that the training reviews give."""
    strengths = {}
    for held_back in (HELD_BACK, blurred(HELD_BACK), replace(HELD_BACK, label=1 - HELD_BACK.label)):
        fitted = fit("tfidf", LEARNT, held_back, config)
        scores = fitted.score(OTHERS).tolist()
        assert strengths.setdefault(fitted.found["C"], scores) == scores
    assert len(strengths) > 1


def test_a_vocabulary_without_words_is_no_error(config: TrainConfig) -> None:
    fitted = fit("tfidf", LEARNT, HELD_BACK, config.model_copy(update={"vocabulary_size": 4}))
    assert fitted.score(OTHERS) == pytest.approx([0.5] * 20)


def labelled(*labels: int) -> Reviews:
    n = len(labels)
    tokens = [np.array([1, 4], np.int32)] * n
    return Reviews(np.array([f"r{i}" for i in range(n)]), np.full(n, "train"), np.array(labels, np.int8), tokens)


def test_every_review_is_scored_with_the_share_of_the_positive_ones(config: TrainConfig) -> None:
    fitted = fit("majority", labelled(1, 1, 0, 1), labelled(1, 0), config)
    assert fitted.score(labelled(0, 0, 1)).tolist() == [0.75] * 3
    assert fitted.parameters == 1
    # worked out by hand: one right at 0.75, one wrong
    assert fitted.val_accuracy == 0.5
    assert fitted.val_loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)


@pytest.mark.parametrize("name", ["majority", "tfidf", "nb-bigrams"])
@pytest.mark.parametrize(
    ("training", "validation"),
    [(labelled(1, 1), labelled(1, 0)), (labelled(1, 0), labelled()), (labelled(), labelled(1))],
)
def test_parts_that_nothing_can_be_learnt_from_are_refused(
    name: str, training: Reviews, validation: Reviews, config: TrainConfig
) -> None:
    with pytest.raises(UsageError, match="training reviews of both labels"):
        fit(name, training, validation, config)


def test_no_name_means_all_of_them() -> None:
    assert choose([]) == NAMES == tuple(ABOUT)


def test_names_are_put_in_the_order_of_their_running_and_once_each() -> None:
    assert choose(["nb-bigrams", "tfidf", "nb-bigrams"]) == ("tfidf", "nb-bigrams")


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="No baseline is named 'bert'.\nThere are: majority, tfidf, nb-bigrams"):
        choose(["tfidf", "bert"])


def test_a_baseline_logs_what_it_shares_with_the_recipe() -> None:
    assert parameters_of("tfidf", TUNED, 7) == {
        "vocabulary_size": 10_000, "sequence_length": 500, "validation_fraction": 0.2, "seed": 7,
    }  # fmt: skip


def reviews_of(*tokens: list[int], label: list[int] | None = None) -> Reviews:
    ids = np.array([f"row-{i}" for i in range(len(tokens))])
    labels = np.array(label or [i % 2 for i in range(len(tokens))], np.int8)
    return Reviews(ids, np.full(len(tokens), "train"), labels, [np.array(each, np.int32) for each in tokens])


def as_whole_text(reviews: Reviews) -> list[str]:
    return [" ".join(f"w{token}" for token in ids if token >= 4) for ids in reviews.tokens]


NOISY, NOISY_HELD_BACK = blurred(LEARNT), blurred(HELD_BACK)


def test_each_word_and_pair_counts_once_in_a_review_and_no_pair_crosses_reviews() -> None:
    keys, rows = features(reviews_of([1, 4, 5, 4, 5], [1, 2, 6], [1]))
    first = 2**32
    assert keys.tolist() == [4, 5, 6, 4 * first + 5, 5 * first + 4]
    assert rows.toarray().tolist() == [[1, 1, 0, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]


def test_what_was_not_learnt_is_left_out_and_columns_stay() -> None:
    keys, _ = features(reviews_of([1, 4, 5], [1, 7]))
    _, rows = features(reviews_of([1, 9, 7, 4, 5], [1, 3, 2, 9]), keys)
    assert rows.toarray().tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_ratios_by_hand() -> None:
    # Word 4 in both positive reviews, 5 in one; 5 in the negative one. With 1 added: 3, 2 of 5 and 1, 2 of 3.
    _, rows = features(reviews_of([1, 4], [1, 5], [1, 4]))
    found = log_count_ratio(rows, np.array([1, 0, 1], np.int8))
    assert found == pytest.approx([math.log((3 / 4) / (1 / 3)), math.log((1 / 4) / (2 / 3))])


def test_scores_of_words_and_pairs_are_those_of_another_way_to_the_same_model(config: TrainConfig) -> None:
    """scikit-learn's vectoriser and another solver; the last fit has the validation reviews, too."""

    def fitted(learnt: Reviews, strength: float, asked: Reviews) -> np.ndarray:
        vectoriser = CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"\S+")
        rows = vectoriser.fit_transform(as_whole_text(learnt)).toarray()
        share = [1 + rows[learnt.label == label].sum(axis=0) for label in (1, 0)]
        ratio = np.log(share[0] / share[0].sum() / (share[1] / share[1].sum()))
        ones = np.ones((len(rows), 1))  # liblinear's constant is penalised as any weight
        model = LogisticRegression(C=strength, fit_intercept=False, tol=1e-8, max_iter=10_000)
        model.fit(np.hstack([rows * ratio, ones]), learnt.label)
        others = vectoriser.transform(as_whole_text(asked)).toarray() * ratio
        return model.predict_proba(np.hstack([others, np.ones((len(others), 1))]))[:, 1]

    losses = {}
    for strength in BIGRAM_STRENGTHS:
        scores = fitted(NOISY, strength, NOISY_HELD_BACK)
        losses[strength] = -np.log(np.where(NOISY_HELD_BACK.label == 1, scores, 1 - scores)).mean()
    best = min(losses, key=losses.__getitem__)
    assert best not in (min(BIGRAM_STRENGTHS), max(BIGRAM_STRENGTHS))
    found = fit("nb-bigrams", NOISY, NOISY_HELD_BACK, config)
    assert found.found == {"C": best}
    assert found.val_loss == pytest.approx(losses[best], abs=1e-3)
    tokens, label = NOISY.tokens + NOISY_HELD_BACK.tokens, np.concatenate([NOISY.label, NOISY_HELD_BACK.label])
    both = reviews_of(*tokens, label=label.tolist())
    assert found.score(OTHERS) == pytest.approx(fitted(both, best, OTHERS), abs=2e-3)


def test_neither_length_nor_vocabulary_of_the_recipe_cuts_a_review(config: TrainConfig) -> None:
    short = config.model_copy(update={"sequence_length": 1, "vocabulary_size": 4})
    whole, cut = (fit("nb-bigrams", NOISY, NOISY_HELD_BACK, each) for each in (config, short))
    assert (cut.score(OTHERS) == whole.score(OTHERS)).all()


def test_the_same_reviews_give_the_same_bits(config: TrainConfig) -> None:
    one, other = (fit("nb-bigrams", NOISY, NOISY_HELD_BACK, config) for _ in range(2))
    assert (one.score(OTHERS) == other.score(OTHERS)).all()


def test_texts_of_one_word_or_none_and_validation_reviews_of_one_label_are_no_error(config: TrainConfig) -> None:
    words = reviews_of([1, 4], [1, 5], [1], [1, 5])
    held_back = reviews_of([1, 5], label=[1])
    negative, positive = fit("nb-bigrams", words, held_back, config).score(words)[:2]
    assert negative < positive
    nothing = reviews_of([1], [1], [1])  # two of three are negative
    assert (fit("nb-bigrams", nothing, nothing, config).score(words) < 0.5).all()


def test_of_very_many_words_the_first_reviews_are_learnt(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that come later, the last of training and all of validation for the last fit, change nothing."""
    few = NOISY.take(np.arange(40))
    monkeypatch.setattr("sentiflow.baselines._MOST_WORDS", int(few.n_tokens.sum()))
    short = NOISY_HELD_BACK.take(np.arange(10))
    some, all_of_them = (fit("nb-bigrams", each, short, config) for each in (few, NOISY))
    assert (some.score(OTHERS) == all_of_them.score(OTHERS)).all()
    assert some.val_loss == all_of_them.val_loss
    monkeypatch.undo()
    assert (fit("nb-bigrams", few, short, config).score(OTHERS) != some.score(OTHERS)).all()


MEASURED = Measured(0.8325, 0.82783, 0.83708, 0.8325, 0.5, 0.83, 0.83, 0.4, 0.9, 0.12)
WORSE = compare(np.array([True] * 4 + [False] * 5 + [True]), np.array([True] * 9 + [False]))  # 1 gained, 5 lost
ROWS = [
    Row("tuned", MEASURED, None, 0.2691, 643_137, 42.04, 60_123.4),
    Row("majority", MEASURED, WORSE, 0.6931, 1, 0.0, 9_999_999.0),
]


def test_a_row_tells_its_figures_as_people_read_them() -> None:
    assert ROWS[0].cells == (
        "tuned", "83.25% (82.78% to 83.71%)", "", "", "0.2691", "643,137", "42.0 s", "60,123"
    )  # fmt: skip


def test_the_difference_has_its_sign_its_interval_and_the_test() -> None:
    # (1 - 5) / 10; McNemar's exact p of 1 in 6: 2 (1 + 6) / 64
    difference, p = ROWS[1].cells[2:4]
    assert difference == "-40.00 points (-72.01 to +8.73)"  # of tango(1, 5, 10)
    assert p == "0.219"


def test_a_p_value_too_small_for_a_number_is_no_zero() -> None:
    worse = compare(np.full(5_000, False), np.full(5_000, True))
    assert worse.p_value == 0.0
    assert Row("x", MEASURED, worse, 0.7, 1, 0.0, 1.0).cells[3] == "< 1e-99"


def test_a_model_that_reads_no_review_has_no_speed() -> None:
    assert Row("majority", MEASURED, WORSE, 0.6931, 1, 0.0, 5e8).cells[-1] == ""


def test_every_line_of_the_table_has_as_many_columns() -> None:
    lines = markdown(ROWS).splitlines()
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}
    assert len(lines) == 4
