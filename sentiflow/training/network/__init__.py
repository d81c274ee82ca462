"""The Keras model, its training, and the fast training core."""

from sentiflow.environment import NUMERIC, isolate

isolate(NUMERIC)  # Keras, TensorFlow and numba read these variables as they are imported
