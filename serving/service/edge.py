"""The outermost layer: who may ask, which methods a path takes, headers of every answer, metrics."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.service.metrics import Metrics
from serving.service.origins import Origins
from serving.service.refusals import CLOSE, SOON, Refusal

logger = logging.getLogger(__name__)

OTHER = "other"  # the one label of all paths that do not exist
GONE = 499  # counted for those who went away before they got an answer

_POLICY = b"content-security-policy"
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_NOTHING = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")


class Edge:
    """ASGI middleware around everything.

    A HEAD is answered as its GET, whose body the server leaves out. OPTIONS names the methods, and allows no other
    site anything.
    """

    def __init__(
        self,
        app: ASGIApp,
        methods: Mapping[str, Collection[str]],
        origins: Origins,
        metrics: Metrics,
        ending: Callable[[], bool],
    ) -> None:
        self._app, self._origins, self._metrics, self._ending = app, origins, metrics, ending
        self._methods = {path: _allowed(given) for path, given in methods.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count."""
        began, status = time.perf_counter(), GONE
        path = scope["path"] if scope["path"] in self._methods else OTHER

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", []))
                if self._ending():  # nobody should ask again on a connection that is about to go
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._answer(path, scope, receive, note)
        except Refusal as refusal:
            await refusal.send(scope, receive, note)
        except asyncio.CancelledError:
            if status == GONE:  # the service ends, and has waited long enough
                await Refusal(503, "The service is ending; ask again.", SOON).send(scope, receive, note)
        except Exception:
            if status != GONE:
                raise  # the server closes the connection: what was sent may be half an answer
            logger.exception("A request to %s failed", path)
            await Refusal(500, "The service failed; its log says how.").send(scope, receive, note)
        finally:
            self._metrics.answered(path, status, time.perf_counter() - began)

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers, method = dict(scope["headers"]), scope["method"]
        if b"transfer-encoding" in headers and b"content-length" in headers:  # RFC 9112, 6.1: perhaps two requests
            raise Refusal(400, "Expected Content-Length or Transfer-Encoding, got both.", CLOSE)
        self._origins.check(method, headers)
        allowed = self._methods.get(path)
        if allowed is None:
            raise Refusal(404, "There is no such path; /docs lists those that there are.")
        if method == "OPTIONS":
            await Response(status_code=204, headers={"Allow": ", ".join(allowed)})(scope, receive, send)
        elif method not in allowed:
            names = ", ".join(allowed)
            raise Refusal(405, f"This path takes {names}.", {"Allow": names})
        else:
            await self._app({**scope, "method": "GET"} if method == "HEAD" else scope, receive, send)


def _allowed(methods: Collection[str]) -> list[str]:
    head = ["HEAD"] if "GET" in methods else []
    return sorted({*methods, *head, "OPTIONS"})


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With what is missing; a page brings a policy of its own."""
    policy = [] if any(name == _POLICY for name, _ in headers) else [_NOTHING]
    return [*headers, *_HEADERS, *policy]
