"""The HTTP service: it answers with the champion, and follows it when it changes.

``processes`` starts and ends its processes. A request passes ``middleware`` (who may ask, headers, metrics),
``app`` (the paths), ``schemas`` (its body) and ``batching`` (one thread that scores). ``champion`` keeps the
version in use in another thread.
"""
