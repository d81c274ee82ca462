"""The Keras model, its training, and the fast training core."""
