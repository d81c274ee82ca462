"""What surrounds the apps of HTTP servers: who may ask, and headers of each answer."""

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANY_PORT = 0

Headers = Mapping[bytes, bytes]
"""Of a request, by their names in small letters."""

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names of this machine, to this machine."""

_HOST = re.compile(r"(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?", re.ASCII)  # IPv6 in brackets, or a name; a port


class Origins:
    """Refuses requests that a page of another site, or a browser under an unknown host name, has sent.

    Another port of the same machine is another site: a page there could use a login that the browser keeps.

    Args:
        names: of hosts, small letters without brackets, each with its port or ``ANY_PORT``.
        links: paths to which people may follow links from other sites.
        every_address: whether any address may be asked: only a name can be made to lead here.
        public: the address of a proxy, https://HOST[:PORT][/PATH].
        hint: what to do where a host is not known.
    """

    def __init__(
        self,
        names: Iterable[tuple[str, int]],
        links: Collection[str] = ("/",),
        *,
        every_address: bool = False,
        public: str = "",
        hint: str = "use the address that was printed",
    ) -> None:
        self._hint = hint
        self._names, self._links, self._every_address = frozenset(names), links, every_address
        self._public = "/".join(public.split("/")[:3]).encode()

    def check(self, scope: Scope, headers: Headers) -> None:
        """Refuse a request to another name by 421, and that of another site's page by 403."""
        host, origin = headers.get(b"host"), headers.get(b"origin")
        known = host is None or self._is_here(host.lower())  # HTTP/1.0 may leave it out; browsers do not
        own: tuple[bytes, ...] = () if host is None else (b"http://" + host.lower(), b"https://" + host.lower())
        if self._public and self._public in own:
            known, own = True, (self._public,)
        if not known:
            raise HTTPException(421, f"Not known by this host name: {self._hint}.")
        strange = origin is not None and origin.lower() not in own
        elsewhere = headers.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none")
        if strange or (elsewhere and not self._is_link(scope, headers)):
            raise HTTPException(403, "Pages of other sites, other ports of this machine among them, may not ask.")

    def _is_here(self, host: bytes) -> bool:
        if not (found := _HOST.fullmatch(host.decode("latin-1"))):
            return False
        name = found[1] or found[2]
        known = (name, ANY_PORT) in self._names or (name, int(found[3] or 80)) in self._names
        return known or (self._every_address and _is_address(name))

    def _is_link(self, scope: Scope, headers: Headers) -> bool:
        """Whether a person follows a link: the page here replaces the other site's, which learns nothing."""
        shown = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
        return scope["method"] == "GET" and scope["path"] in self._links and shown == (b"navigate", b"document")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Edge:
    """ASGI middleware: checks a request before the app has it, and sets headers of each answer."""

    def __init__(self, app: ASGIApp, origins: Origins, headers: dict[bytes, bytes]) -> None:
        self._app, self._origins, self._headers = app, origins, headers

    def check(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse a request by an HTTPException, or answer it in place of the app."""
        self._origins.check(scope, headers)
        return None

    def refusal(self, err: HTTPException) -> Response:
        return Response(err.detail, err.status_code, err.headers, "text/plain")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self.headers(message.get("headers", []))
            await send(message)

        try:
            app = self.check(scope, dict(scope["headers"])) or self._app
        except HTTPException as err:
            app = self.refusal(err)
        await app(scope, receive, complete)

    def headers(self, own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Headers of an answer: the app's, and ours in place of some."""
        return [*(each for each in own if each[0].lower() not in self._headers), *self._headers.items()]
