"""What surrounds the paths: allowed hosts and origins, the token, what is counted of each answer."""

import asyncio
import hmac
import ipaddress
import re
import socket
import time
from collections.abc import Collection, Iterable, Mapping

from fastapi import FastAPI, HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sentiflow.serving.metrics import Metrics

SOON = {"Retry-After": "1"}
CLOSE = {"Connection": "close"}


class Origins:
    """Refuses requests that a page of another site, or a browser under an unknown host name, has sent."""

    def __init__(self, address: str, names: Iterable[str]) -> None:
        """Allow this machine's own names, and some names and addresses besides, without ports.

        A service that listens on every address (``--host 0.0.0.0``) may be asked by any address (only a name can
        be made to lead here) and by the machine's name.
        """
        self._every_address = ipaddress.ip_address(address).is_unspecified
        own = socket.gethostname() if self._every_address else address
        self._names = {"localhost", "127.0.0.1", "::1", own.lower(), *(name.strip("[]").lower() for name in names)}

    def check(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a request to another name by 421, and that of another site's page by 403."""
        host = headers.get(b"host")  # HTTP/1.0 may leave it out; browsers do not
        if host is not None and not self._is_here(host.decode("latin-1").lower()):
            raise HTTPException(421, "The service is not known by this host name; see SENTIFLOW_SERVE_HOSTS.")
        origin = headers.get(b"origin", b"").lower()
        own = () if host is None else (b"http://" + host.lower(), b"https://" + host.lower())
        elsewhere = headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
        if (elsewhere and not _is_link(method, headers)) or (origin and origin not in own):
            raise HTTPException(403, "Pages of other sites may not use this service.")

    def _is_here(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        name = match and (match[1] or match[2])
        return name in self._names or (self._every_address and _is_address(name or ""))


_HOST = re.compile(r"(?:\[(.+)\]|([^:]+))(?::\d+)?")  # with brackets (IPv6) or without, and a port


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_link(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a person follows a link to a page here: it replaces the other site's page, which learns nothing."""
    shown = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
    return method == "GET" and shown == (b"navigate", b"document")


HEALTH = ("/healthz", "/readyz", "/ping", "/health")


def _check_token(token: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Check a request's bearer token, in a time that tells nothing about the right one."""
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token):
        challenge = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(401, "This service asks for a token: `Authorization: Bearer ...`.", challenge)


OTHER = "other"  # the one label of all paths that do not exist
GONE = 499  # counted for clients that went away before they got an answer

_POLICY = b"content-security-policy"
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class Edge:
    """ASGI middleware: checks origins and tokens, adds headers, counts; a HEAD is answered as its GET."""

    def __init__(
        self, app: FastAPI, origins: Origins, token: str | None, open_paths: Collection[str], metrics: Metrics
    ) -> None:
        self._app, self._origins, self._metrics = app, origins, metrics
        self._token, self._open = token and token.encode(), open_paths
        self._paths = {route.path for route in app.routes if isinstance(route, Route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), GONE
        path = scope["path"] if scope["path"] in self._paths else OTHER

        async def complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = headers = [*message.get("headers", []), *_HEADERS]
                if all(name != _POLICY for name, _ in headers):  # a page brings a policy of its own
                    headers.append((_POLICY, b"default-src 'none'; frame-ancestors 'none'"))
            await send(message)

        try:
            self._check(scope)
            app_scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await self._app(app_scope, receive, complete)
        except HTTPException as err:
            await _refusal(err)(scope, receive, complete)
        except asyncio.CancelledError:
            if status == GONE:  # the service ends, and has waited long enough
                ending = HTTPException(503, "The service is ending; ask again.", SOON)
                await _refusal(ending)(scope, receive, complete)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if b"transfer-encoding" in headers and b"content-length" in headers:  # RFC 9112, 6.1: perhaps two requests
            raise HTTPException(400, "Expected Content-Length or Transfer-Encoding, got both.", CLOSE)
        self._origins.check(scope["method"], headers)
        if self._token and scope["path"] not in self._open:
            _check_token(self._token, headers)


def _refusal(err: HTTPException) -> Response:
    return JSONResponse({"detail": err.detail}, err.status_code, err.headers)
