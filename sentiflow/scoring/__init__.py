"""From raw text to a score without TensorFlow.

This package travels inside every registered model, under a name of its own. It therefore imports numpy,
threadpoolctl and the standard library only (and Keras for a model of a user's own), and itself only relatively.
"""

from .blas import ONE_BLAS_THREAD
from .forward import Network, cores
from .ngrams import NGrams
from .own import OwnNetwork
from .scorer import (
    LABEL_NAMES,
    NEUTRAL,
    THRESHOLD,
    Attribution,
    NewerFormatError,
    TextScorer,
    Word,
    is_name,
    is_positive,
)
from .vocabulary import OUT_OF_VOCABULARY, START, Vocabulary, pad, tokenize
from .weights import Weights

__all__ = [
    "LABEL_NAMES",
    "NEUTRAL",
    "NGrams",
    "ONE_BLAS_THREAD",
    "OUT_OF_VOCABULARY",
    "OwnNetwork",
    "NewerFormatError",
    "Network",
    "Attribution",
    "START",
    "THRESHOLD",
    "TextScorer",
    "Vocabulary",
    "Weights",
    "Word",
    "cores",
    "is_name",
    "is_positive",
    "pad",
    "tokenize",
]
