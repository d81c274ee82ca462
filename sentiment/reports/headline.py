"""The outcome of a run in one line."""

from sentiment.metrics import Measured


def headline(measured: Measured) -> str:
    """Accuracy with its interval."""
    return (
        f"test accuracy {measured.accuracy:.2%} "
        f"(95% interval {measured.accuracy_low:.2%} to {measured.accuracy_high:.2%})"
    )
