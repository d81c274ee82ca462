"""Answers that say no, and why; always JSON, and never with anything of the request in them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Detail = str | Sequence[Mapping[str, Any]]

SOON = {"Retry-After": "1"}
CLOSE = {"Connection": "close"}


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """Ends a request with a status and its reason."""

    def __init__(self, status: int, detail: Detail, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.detail, self.headers = status, detail, headers

    @property
    def response(self) -> Response:
        """The answer."""
        content = json.dumps({"detail": self.detail}, ensure_ascii=False)
        return Response(content, self.status, dict(self.headers or {}), "application/json")

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer outside of a framework."""
        await self.response(scope, receive, send)


def invalid(message: str, kind: str, *where: str | int) -> Refusal:
    """A body that says something wrong: 422 in the shape of FastAPI's own."""
    return Refusal(422, [{"loc": ["body", *where], "msg": message, "type": kind}])
