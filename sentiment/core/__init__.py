"""The fast training core: the SimpleRNN's own maths in another order of work.

``kernels`` walks the steps in compiled code, ``recurrence`` spreads reviews over threads and keeps what the
gradients need, ``network`` is the Keras model that trains by it. Why, and what it gains: decision 0005.
"""
