"""Baselines: simpler and other models to compare the recipe's network with."""

from sentiflow.baselines.models import FitInput, Fitted, fit_majority, fit_tfidf
from sentiflow.errors import UsageError


def fit(name: str, given: FitInput) -> Fitted:
    """Fit one of the baselines ``NAMES``.

    Raises:
        UsageError: no validation reviews, or training reviews of one label only; a training diverged.
    """
    if not len(given.validation) or len(set(given.training.label.tolist())) != 2:
        raise UsageError(
            "The baselines need validation reviews, and training reviews of both labels.",
            "Use a larger table, or another validation_fraction.",
        )
    if name == "majority":
        return fit_majority(given)
    if name == "tfidf":
        return fit_tfidf(given)
    from sentiflow.baselines import networks  # TensorFlow takes ten seconds

    return networks.fit(name, given)
