"""A Keras model that trains the variables of a stock network by the fast recurrence."""

import itertools
import random
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sentiflow.training.network.model import directions_of, members_of, prepare_to_fit
from sentiflow.training.network.recurrence import Recurrence


class FastNetwork(keras.Model):  # type: ignore[misc]
    """Embedding, SimpleRNN and a sigmoid unit: the stock layers' variables and maths in another order of work.

    What is trained here is trained in the stock network: nothing has to be copied back. Shapes: v words,
    n reviews, t steps, u units.

    Members are trained side by side, each by its own loss, as if it were alone; only the limit on the gradients'
    norm is common to them. What is validated is the mean of their scores; training metrics are of each alone.

    Args:
        stock: a network made by ``sentiflow.training.network.model.build``.
        vocabulary_dropout: share of the embedding's rows that are zero for a training batch, the others scaled up.
        dropout: the same for the elements that go into the last layer.
        steps_at_once: steps that TensorFlow makes in one call; callbacks and signals wait for its end.
        gather: compute with the embeddings of a batch's words alone, which pays where the vocabulary is large;
            sums are grouped in another way.
    """

    def __init__(
        self,
        stock: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        vocabulary_dropout: float = 0.0,
        dropout: float = 0.0,
        steps_at_once: int = 1,
        *,
        gather: bool = False,
    ) -> None:
        super().__init__(name="fast_network")
        self.stock = stock
        self._members = [_FastMember(one, vocabulary_dropout, dropout, gather=gather) for one in members_of(stock)]
        self.built = True
        # The recurrence is no TensorFlow operation, so that XLA can compile only what stands around it.
        prepare_to_fit(self, optimizer, jit_compile=False, steps_per_execution=steps_at_once)
        self.begin(stock.get_weights(), 0)

    def begin(self, weights: list[NDArray[np.float32]], seed: int) -> None:
        """Be as new, whatever was trained before: nothing has to be compiled again.

        The first weights are as the stock network's ``get_weights`` gives them; the seed is of dropout alone.
        """
        self.stock.set_weights(weights)
        rate = self.optimizer.learning_rate
        for variable in self.optimizer.variables:
            if variable is not rate:  # all others start as zeros
                variable.assign(keras.ops.zeros_like(variable))
        source = random.Random(f"dropout {seed}")
        for member in self._members:
            member.begin(source)

    def call(self, ids: Any) -> Any:
        """Score reviews, shape (n, t) -> (n, 1)."""
        return _mean([member(ids) for member in self._members])

    def train_step(self, data: Any) -> Any:
        """One step of ``fit``; Keras's own, but for the optimizer's part, which XLA compiles into one pass.

        Several members each get a batch of their own: ids of shape (members, n, t), labels of (members, n).
        """
        ids, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        alone = len(self._members) == 1
        shares = [(ids, labels)] if alone else list(zip(tf.unstack(ids), tf.unstack(labels), strict=True))
        gradients, losses, scores = self.derive(shares)
        self._update(gradients)
        self._loss_tracker.update_state(_mean(losses), sample_weight=tf.shape(shares[0][0])[0])
        return self.compute_metrics(ids, tf.concat([own for _, own in shares], 0), tf.concat(scores, 0))

    def derive(
        self, shares: Sequence[tuple[tf.Tensor, tf.Tensor]]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
        """Derive the sum of the members' losses, each on ids (n, t) and labels (n,) of its own.

        By hand, first what comes after the recurrences and then what comes before: TensorFlow never forgets a
        ``tf.custom_gradient``, nor the network that it belongs to.

        Returns:
            The gradient of each trainable variable; each member's loss; each member's scores (n, 1).
        """
        with tf.GradientTape(persistent=True) as tape:
            reads = [
                member.read(ids, training=True) for member, (ids, _) in zip(self._members, shares, strict=True)
            ]
            every = list(itertools.chain(*reads))
            states = [read.states for read in every]
            tape.watch(states)
            scores = [member.score(own, training=True) for member, own in zip(self._members, reads, strict=True)]
            losses = [self.compute_loss(*own, one, training=True) for own, one in zip(shares, scores, strict=True)]
            total = tf.add_n(losses)
        variables = self.trainable_variables
        d_states, after = tape.gradient(total, [states, variables])
        given = [tensor for read in every for tensor in read.given]
        d_given = [tensor for read, d in zip(every, d_states, strict=True) for tensor in read.gradients(d)]
        before = tape.gradient(given, variables, output_gradients=d_given)
        found = [
            tf.convert_to_tensor(one if other is None else other) for one, other in zip(before, after, strict=True)
        ]
        return found, losses, scores

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _update(self, gradients: list[tf.Tensor]) -> None:
        self.optimizer.apply(gradients)


class _FastMember(keras.layers.Layer):  # type: ignore[misc]
    """One member."""

    def __init__(
        self, stock: keras.Sequential, vocabulary_dropout: float, dropout: float, *, gather: bool
    ) -> None:
        super().__init__(name=f"fast_{stock.name}")
        self._embedding, self._score = stock.get_layer("embedding"), stock.get_layer("score")
        masked = self._embedding.mask_zero
        self._directions = [
            (layer.cell, Recurrence(masked=masked, mean=layer.return_sequences, backwards=layer.go_backwards))
            for layer in directions_of(stock)
        ]
        self._vocabulary_dropout = keras.layers.Dropout(vocabulary_dropout, seed=0, name="vocabulary_dropout")
        self._dropout = keras.layers.Dropout(dropout, seed=1, name="dropout")
        self._gather = gather
        self.built = True

    def begin(self, source: random.Random) -> None:
        """Take the seeds of what is dropped from a source."""
        for layer in (self._vocabulary_dropout, self._dropout):
            seed = source.getrandbits(31)
            if layer.rate:
                layer.seed_generator.state.assign([seed, 0])

    def call(self, ids: Any) -> Any:
        return self.score(self.read(ids))

    def read(self, ids: Any, *, training: bool = False) -> "list[_Read]":
        """Read the reviews in each direction."""
        kept = None
        if training and self._vocabulary_dropout.rate:
            kept = self._vocabulary_dropout(tf.ones((self._embedding.input_dim, 1)), training=True)  # (v, 1)
        ids, embeddings = tf.cast(ids, tf.int32), tf.convert_to_tensor(self._embedding.embeddings)
        if self._gather:
            words, rows = tf.unique(tf.concat([[0], tf.reshape(ids, [-1])], 0))  # padding stays 0
            ids, embeddings = tf.reshape(rows[1:], tf.shape(ids)), tf.gather(self._embedding.embeddings, words)
            kept = None if kept is None else tf.gather(kept, words)
        return [self._read(cell, recurrence, embeddings, kept, ids) for cell, recurrence in self._directions]

    def score(self, reads: "list[_Read]", *, training: bool = False) -> Any:
        """Score what was read, (n, 1)."""
        states = [read.states for read in reads]
        together = states[0] if len(states) == 1 else tf.concat(states, axis=1)
        return self._score(self._dropout(together, training=training))

    @staticmethod
    def _read(
        cell: Any, recurrence: Recurrence, embeddings: tf.Tensor, kept: tf.Tensor | None, ids: tf.Tensor
    ) -> "_Read":
        # Each word's share of the recurrent layer's input is computed once a batch, and looked up at each step.
        inputs = tf.matmul(embeddings, cell.kernel)
        if kept is not None:
            inputs *= kept
        return _Read(recurrence, inputs, cell, ids)


class _Read:
    """What ``Recurrence.read`` hands on of a batch, and its gradients.

    TensorFlow runs stateful functions one after the other. Called stateless, members and directions are read side
    by side, on as many cores as there are. What ``read`` keeps for ``gradients`` is safe: that waits for it.

    Attributes:
        given: what it derives a loss by: inputs (v, u), bias (u,) and recurrent kernel (u, u).
        states: what is handed on, (n, u).
    """

    def __init__(self, recurrence: Recurrence, inputs: tf.Tensor, cell: Any, ids: tf.Tensor) -> None:
        self._recurrence = recurrence
        self.given = [inputs, *map(tf.convert_to_tensor, (cell.bias, cell.recurrent_kernel))]
        self.states = tf.numpy_function(_weakly(recurrence.read), [*self.given, ids], tf.float32, stateful=False)
        self.states.set_shape((ids.shape[0], cell.units))

    def gradients(self, d_states: tf.Tensor) -> list[tf.Tensor]:
        """The loss by each of ``given``."""
        with tf.control_dependencies([self.states]):
            found = tf.numpy_function(
                _weakly(self._recurrence.gradients), [d_states], [tf.float32] * len(self.given), stateful=False
            )
        for one, of in zip(found, self.given, strict=True):
            one.set_shape(of.shape)
        return list(found)


def _mean(values: list[tf.Tensor]) -> tf.Tensor:
    return values[0] if len(values) == 1 else tf.add_n(values) / len(values)


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """TensorFlow never forgets a function that it calls: this one does not keep what the method belongs to."""
    reference = weakref.WeakMethod(method)
    return lambda *given: reference()(*given)  # type: ignore[misc] # called only while it is there
