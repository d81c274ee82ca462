"""The Keras model, its training, and the fast training core."""

import os

from sentiflow.environment import KERAS

os.environ |= KERAS  # read as Keras is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes on processors and GPUs, but for the first ones
