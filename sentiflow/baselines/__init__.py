"""Baselines: simpler and other models that the recipe's network is measured against."""

from collections.abc import Callable

from sentiflow.baselines.models import Fitted, fit_majority, fit_tfidf
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.network.history import Epoch
from sentiflow.progress import Progress, no_progress
from sentiflow.recipes import TrainConfig


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
    if name == "majority":
        return fit_majority(training, validation)
    if name == "tfidf":
        return fit_tfidf(training, validation, config)
    from sentiflow.baselines import networks  # TensorFlow takes ten seconds

    return networks.fit(name, training, validation, config, seed, on_epoch, progress)
