"""From raw text to a score without TensorFlow.

This package travels inside every registered model, under a name of its own. It therefore imports numpy and the
standard library only, and itself only relatively.
"""

from .forward import Network
from .scorer import Attribution, TextScorer, Word, is_positive, label_of
from .vocabulary import OUT_OF_VOCABULARY, START, Vocabulary, pad, tokenize
from .weights import Weights

__all__ = [
    "OUT_OF_VOCABULARY",
    "Network",
    "Attribution",
    "START",
    "TextScorer",
    "Vocabulary",
    "Weights",
    "Word",
    "is_positive",
    "label_of",
    "pad",
    "tokenize",
]
