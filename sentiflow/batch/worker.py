"""A process that scores what it is sent: first a scorer, then lists of texts, each answered by their scores.

    python -P -m sentiflow.batch.worker DESCRIPTOR

It imports numpy, pyarrow and the scoring package only, and ends when whoever started it does.
"""

import sys
from multiprocessing.connection import Connection
from typing import Any


def serve(connection: "Connection[Any, Any]") -> None:
    """Answer until the other side is gone."""
    try:
        scorer = connection.recv()
        while True:
            connection.send(scorer.score(connection.recv()))
    except (EOFError, OSError):  # gone, perhaps in the middle of a message
        return


if __name__ == "__main__":
    with Connection(int(sys.argv[1])) as _connection:
        serve(_connection)
