"""The HTTP service: it answers with the champion, and follows it when it changes.

A request passes ``server`` (limits of connections), ``middleware`` (who may ask, headers, metrics, limits of
bodies), ``app`` (the paths), ``schemas`` (its body) and ``batching`` (one thread that scores). ``champion`` keeps
the version in use in another thread.
"""
