"""What surrounds the paths: allowed hosts and origins, the token, what is counted of each answer."""

import asyncio
import hmac
import ipaddress
import socket
import time
from collections.abc import Collection, Iterable

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sentiflow.edge import ANY_PORT, LOCAL, Edge, Headers, Origins
from sentiflow.serving.metrics import Metrics

SOON = {"Retry-After": "1"}
CLOSE = {"Connection": "close"}


def origins(address: str, names: Iterable[str]) -> Origins:
    """Allow this machine's own names, and some names and addresses besides, without ports.

    A service that listens on every address (``--host 0.0.0.0``) may be asked by any, and by the machine's name.
    """
    every_address = ipaddress.ip_address(address).is_unspecified
    own = socket.gethostname() if every_address else address
    known = {*LOCAL, own.lower(), *(name.strip("[]").lower() for name in names)}
    hint = "see SENTIFLOW_SERVE_HOSTS"
    return Origins([(name, ANY_PORT) for name in known], ("/", "/docs"), every_address=every_address, hint=hint)


HEALTH = ("/healthz", "/readyz", "/ping", "/health")


OTHER = "other"  # the one label of all paths that do not exist
GONE = 499  # counted for clients that went away before they got an answer

_POLICY = b"content-security-policy"
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class ServiceEdge(Edge):
    """Checks tokens, too, and counts; a HEAD is answered as its GET."""

    def __init__(
        self, app: FastAPI, origins: Origins, token: str | None, open_paths: Collection[str], metrics: Metrics
    ) -> None:
        super().__init__(app, origins, _HEADERS)
        self._metrics, self._token, self._open = metrics, token and token.encode(), open_paths
        self._paths = {route.path for route in app.routes if isinstance(route, Route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), GONE
        path = scope["path"] if scope["path"] in self._paths else OTHER

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await super().__call__(asked, receive, watch)
        except asyncio.CancelledError:
            if status == GONE:  # the service ends, and has waited long enough
                ending = HTTPException(503, "The service is ending; ask again.", SOON)
                await self.refusal(ending)(scope, receive, watch)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)

    def check(self, scope: Scope, headers: Headers) -> None:
        if b"transfer-encoding" in headers and b"content-length" in headers:  # RFC 9112, 6.1: perhaps two requests
            raise HTTPException(400, "Expected Content-Length or Transfer-Encoding, got both.", CLOSE)
        super().check(scope, headers)
        if self._token and scope["path"] not in self._open:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                challenge = {"WWW-Authenticate": "Bearer"}
                raise HTTPException(401, "This service asks for a token: `Authorization: Bearer ...`.", challenge)

    def refusal(self, err: HTTPException) -> Response:
        return JSONResponse({"detail": err.detail}, err.status_code, err.headers)

    def headers(self, own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = super().headers(own)
        if all(name != _POLICY for name, _ in headers):  # a page brings a policy of its own
            headers.append((_POLICY, b"default-src 'none'; frame-ancestors 'none'"))
        return headers
