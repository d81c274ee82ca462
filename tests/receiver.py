"""A webhook's other side."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests import servers

PATH = "/hooks/T0SECRET"


@dataclass
class Receiver:
    """What came in; ``answers`` are the status codes of the first requests, the rest get 200."""

    address: str = ""
    answers: list[int] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)


@contextmanager
def receiver(answers: Sequence[int] = ()) -> Iterator[Receiver]:
    """Take messages on a free port until the block ends."""
    got = Receiver(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            path, _, query = self.path.partition("?")
            assert path == PATH
            got.queries.append(query)
            body = self.rfile.read(int(self.headers["content-length"]))
            got.messages.append(json.loads(body))
            got.headers.append({name.lower(): value for name, value in self.headers.items()})
            status = got.answers.pop(0) if got.answers else 200
            self.send_response(status)
            if status in (301, 302):
                self.send_header("location", f"{got.address}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with servers.http(Handler) as port:
        got.address = f"http://127.0.0.1:{port}{PATH}"
        yield got
