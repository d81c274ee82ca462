"""A Keras model that trains the variables of a stock network by the fast recurrence."""

import random
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sentiflow.network.model import directions_of, members_of, prepare_to_fit
from sentiflow.network.recurrence import Recurrence


class FastNetwork(keras.Model):  # type: ignore[misc]
    """Embedding, SimpleRNN and a sigmoid unit: the stock layers' variables and maths in another order of work.

    What is trained here is trained in the stock network: nothing has to be copied back. Shapes: v words,
    n reviews, t steps, u units.

    Members are trained side by side, each by its own loss, as if it were alone; only the limit on the gradients'
    norm is common to them. What is validated is the mean of their scores; training metrics are of each alone.

    Args:
        stock: a network made by ``sentiflow.network.model.build``.
        optimizer: of Keras, not yet built.
        vocabulary_dropout: share of the embedding's rows that are zero for a training batch, the others scaled up.
        dropout: the same for the elements that go into the last layer.
        steps_at_once: steps that TensorFlow makes in one call; callbacks and signals wait for its end.
    """

    def __init__(
        self,
        stock: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        vocabulary_dropout: float = 0.0,
        dropout: float = 0.0,
        steps_at_once: int = 1,
    ) -> None:
        super().__init__(name="fast_network")
        self.stock = stock
        self._members = [_FastMember(member, vocabulary_dropout, dropout) for member in members_of(stock)]
        self.built = True
        # The recurrence is no TensorFlow operation, so that XLA can compile only what stands around it.
        prepare_to_fit(self, optimizer, jit_compile=False, steps_per_execution=steps_at_once)
        self.begin(stock.get_weights(), 0)

    def begin(self, weights: list[NDArray[np.float32]], seed: int) -> None:
        """Be as new, whatever was trained before: nothing has to be compiled again.

        Args:
            weights: the first ones, as the stock network's ``get_weights`` gives them.
            seed: of what dropout leaves out.
        """
        self.stock.set_weights(weights)
        rate = self.optimizer.learning_rate
        for variable in self.optimizer.variables:
            if variable is not rate:  # all others start as zeros
                variable.assign(keras.ops.zeros_like(variable))
        source = random.Random(f"dropout {seed}")
        for member in self._members:
            member.begin(source)

    def call(self, ids: Any, training: bool = False) -> Any:
        """Score reviews, shape (n, t) -> (n, 1)."""
        return _mean([member(ids, training=training) for member in self._members])

    def train_step(self, data: Any) -> Any:
        """One step of ``fit``; Keras's own, but for the optimizer's part, which XLA compiles into one pass.

        Several members each get a batch of their own: ids of shape (members, n, t), labels of (members, n).
        """
        ids, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        alone = len(self._members) == 1
        shares = [(ids, labels)] if alone else list(zip(tf.unstack(ids), tf.unstack(labels), strict=True))
        with tf.GradientTape() as tape:
            each = [member(own, training=True) for member, (own, _) in zip(self._members, shares, strict=True)]
            losses = [self.compute_loss(*own, one, training=True) for one, own in zip(each, shares, strict=True)]
            total = tf.add_n(losses)
        self._update(tape.gradient(total, self.trainable_variables))
        self._loss_tracker.update_state(_mean(losses), sample_weight=tf.shape(shares[0][0])[0])
        return self.compute_metrics(ids, tf.concat([own for _, own in shares], 0), tf.concat(each, 0))

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _update(self, gradients: list[tf.Tensor]) -> None:
        self.optimizer.apply(gradients)


class _FastMember(keras.layers.Layer):  # type: ignore[misc]
    """One member."""

    def __init__(self, stock: keras.Sequential, vocabulary_dropout: float, dropout: float) -> None:
        super().__init__(name=f"fast_{stock.name}")
        self._embedding, self._score = stock.get_layer("embedding"), stock.get_layer("score")
        masked = self._embedding.mask_zero
        self._directions = [
            (layer.cell, Recurrence(masked=masked, mean=layer.return_sequences, backwards=layer.go_backwards))
            for layer in directions_of(stock)
        ]
        self._vocabulary_dropout = keras.layers.Dropout(vocabulary_dropout, seed=0, name="vocabulary_dropout")
        self._dropout = keras.layers.Dropout(dropout, seed=1, name="dropout")
        self.built = True

    def begin(self, source: random.Random) -> None:
        """Take the seeds of what is dropped from a source."""
        for layer in (self._vocabulary_dropout, self._dropout):
            seed = source.getrandbits(31)
            if layer.rate:
                layer.seed_generator.state.assign([seed, 0])

    def call(self, ids: Any, training: bool = False) -> Any:
        kept = None
        if training and self._vocabulary_dropout.rate:
            kept = self._vocabulary_dropout(tf.ones((self._embedding.input_dim, 1)), training=True)  # (v, 1)
        ids = tf.cast(ids, tf.int32)
        read = [self._read(cell, recurrence, ids, kept) for cell, recurrence in self._directions]  # (n, u) each
        states = read[0] if len(read) == 1 else tf.concat(read, axis=1)
        return self._score(self._dropout(states, training=training))

    def _read(self, cell: Any, recurrence: Recurrence, ids: tf.Tensor, kept: tf.Tensor | None) -> tf.Tensor:
        """What one direction hands on, (n, u)."""
        # Each word's share of the recurrent layer's input is computed once a batch, and looked up at each step.
        inputs = tf.matmul(self._embedding.embeddings, cell.kernel)  # (v, u)
        if kept is not None:
            inputs *= kept
        return _differentiable(recurrence, inputs + cell.bias, tf.convert_to_tensor(cell.recurrent_kernel), ids)


def _mean(values: list[tf.Tensor]) -> tf.Tensor:
    return values[0] if len(values) == 1 else tf.add_n(values) / len(values)


def _differentiable(recurrence: Recurrence, inputs: tf.Tensor, recurrent: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """What ``Recurrence.read`` gives, (n, u), with its own gradients.

    TensorFlow runs stateful functions one after the other. Called stateless, members and directions are read side
    by side, on as many cores as there are. What ``read`` keeps for ``gradients`` is safe: that waits for it.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def read(inputs: tf.Tensor, recurrent: tf.Tensor) -> tuple[tf.Tensor, Any]:
        states = tf.numpy_function(recurrence.read, [inputs, recurrent, ids], tf.float32, stateful=False)
        states.set_shape((ids.shape[0], recurrent.shape[0]))

        def gradients(d_states: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.control_dependencies([states]):
                d_inputs, d_recurrent = tf.numpy_function(
                    recurrence.gradients, [d_states], (tf.float32, tf.float32), stateful=False
                )
            d_inputs.set_shape(inputs.shape)
            d_recurrent.set_shape(recurrent.shape)
            return d_inputs, d_recurrent

        return states, gradients

    return read(inputs, recurrent)
