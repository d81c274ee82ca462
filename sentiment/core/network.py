"""A Keras model that trains the variables of a stock network by the fast recurrence."""

import random
from typing import Any

import keras
import tensorflow as tf

from sentiment.core.recurrence import Recurrence


class FastNetwork(keras.Model):  # type: ignore[misc]
    """Embedding, SimpleRNN and a sigmoid unit: the stock layers' variables and maths in another order of work.

    What is trained here is trained in the stock network: nothing has to be copied back. Shapes: v words,
    n reviews, t steps, u units.

    Args:
        stock: a network made by ``sentiment.model.build``.
        optimizer: of Keras, not yet built.
        word_dropout: share of the embedding's rows that are zero for a training batch, the others scaled up.
        dropout: share of the last states' elements that are zero for a training batch, likewise.
        seed: of what is dropped.
    """

    def __init__(
        self,
        stock: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(name="fast_network")
        self.stock = stock
        self._embedding = stock.get_layer("embedding")
        self._cell = stock.get_layer("simple_rnn").cell
        self._recurrence = Recurrence(masked=self._embedding.mask_zero)
        source = random.Random(f"dropout {seed}")
        self._word_dropout = keras.layers.Dropout(word_dropout, seed=source.getrandbits(31), name="word_dropout")
        self._dropout = keras.layers.Dropout(dropout, seed=source.getrandbits(31), name="dropout")
        self.built = True
        # The recurrence is no TensorFlow operation, so that XLA can compile only what stands around it.
        self.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], jit_compile=False)
        self.optimizer.build(self.trainable_variables)

    def call(self, ids: Any, training: bool = False) -> Any:
        """Score reviews, shape (n, t) -> (n, 1)."""
        # Each word's share of the recurrent layer's input is computed once a batch, and looked up at each step.
        inputs = tf.matmul(self._embedding.embeddings, self._cell.kernel)  # (v, u)
        if training and self._word_dropout.rate:
            inputs *= self._word_dropout(tf.ones((self._embedding.input_dim, 1)), training=True)
        recurrent = tf.convert_to_tensor(self._cell.recurrent_kernel)  # (u, u)
        states = self._last_states(inputs + self._cell.bias, recurrent, tf.cast(ids, tf.int32))  # (n, u)
        return self.stock.get_layer("score")(self._dropout(states, training=training))

    def train_step(self, data: Any) -> Any:
        """One step of ``fit``; Keras's own, but for the optimizer's part, which XLA compiles into one pass."""
        ids, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            scores = self(ids, training=True)
            loss = self.compute_loss(ids, labels, scores, sample_weight, training=True)
        self._update(tape.gradient(loss, self.trainable_variables))
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(ids)[0])
        return self.compute_metrics(ids, labels, scores, sample_weight)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _update(self, gradients: list[tf.Tensor]) -> None:
        self.optimizer.apply(gradients)

    def _last_states(self, inputs: tf.Tensor, recurrent: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """States after the last step, (n, u), with the recurrence's own gradients."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def read(inputs: tf.Tensor, recurrent: tf.Tensor) -> tuple[tf.Tensor, Any]:
            states = tf.numpy_function(self._recurrence.last_states, [inputs, recurrent, ids], tf.float32)
            states.set_shape((ids.shape[0], recurrent.shape[0]))

            def gradients(d_states: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                with tf.control_dependencies([states]):
                    d_inputs, d_recurrent = tf.numpy_function(
                        self._recurrence.gradients, [d_states], (tf.float32, tf.float32)
                    )
                d_inputs.set_shape(inputs.shape)
                d_recurrent.set_shape(recurrent.shape)
                return d_inputs, d_recurrent

            return states, gradients

        return read(inputs, recurrent)
