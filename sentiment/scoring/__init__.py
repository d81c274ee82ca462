"""From raw text to a score without TensorFlow.

This package travels inside every registered model, under a name of its own. It therefore imports numpy and the
standard library only, and itself only relatively.
"""

from .forward import Weights, forward
from .scorer import TextScorer, is_positive
from .sequences import pad
from .vocabulary import OUT_OF_VOCABULARY, PAD, START, Vocabulary, tokenize

__all__ = [
    "OUT_OF_VOCABULARY",
    "PAD",
    "START",
    "TextScorer",
    "Vocabulary",
    "Weights",
    "forward",
    "is_positive",
    "pad",
    "tokenize",
]
