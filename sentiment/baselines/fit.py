"""Fit a baseline by its name."""

from collections.abc import Callable

from sentiment.baselines.fitted import Fitted
from sentiment.data.reviews import Reviews
from sentiment.errors import UsageError
from sentiment.history import Epoch
from sentiment.progress import Progress, no_progress
from sentiment.recipes import TrainConfig


def fit(
    name: str,
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
    progress: Progress = no_progress,
) -> Fitted:
    """Fit one baseline.

    Args:
        name: one of ``NAMES``.
        training: reviews to learn from, all that is learnt from.
        validation: reviews that choose settings or the epoch.
        config: the recipe that it is held against: vocabulary, length and size are taken from it.
        seed: of what is random.
        on_epoch: called after each epoch, if there are any.
        progress: shown within each.

    Raises:
        UsageError: a part lacks reviews, or the training part one of the labels; a training diverged.
    """
    if not len(validation) or len(set(training.label.tolist())) != 2:
        raise UsageError(
            "The baselines need validation reviews, and training reviews of both labels.",
            "Use a larger table, or another validation_fraction.",
        )
    # Each only where it is needed: scikit-learn takes a second, TensorFlow ten.
    if name == "majority":
        from sentiment.baselines import majority

        return majority.fit(training, validation)
    if name == "tfidf":
        from sentiment.baselines import tfidf

        return tfidf.fit(training, validation, config)
    from sentiment.baselines import network_fit

    return network_fit.fit(name, training, validation, config, seed, on_epoch, progress)
