"""The HTTP service: it answers with the champion, and follows it when it changes.

A request passes ``server`` (limits of connections), ``middleware`` (who may ask, headers, metrics), ``app`` (the
paths, limits of bodies), ``schemas`` (its body) and ``batching`` (one thread that scores). ``champion`` keeps the
version in use in another thread.
"""

import os

WORKER = "_SENTIFLOW_SERVE_WORKER"
"""In a worker's environment: its place, the socket, a pipe for a byte once it answers, the model's name, and how
long its first check of the registry may delay it."""


def is_worker() -> bool:
    """Whether this process is one of several that a service has started."""
    return WORKER in os.environ
