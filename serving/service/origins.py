"""Which pages and which names of this machine requests may come from.

A web page of another site can make a browser send requests to this service. If it lets a name of its own lead here
(DNS rebinding), it could read the answers, too. Programs other than browsers are let pass.
"""

import ipaddress
import socket
from collections.abc import Iterable, Mapping

from serving.service.refusals import Refusal

_ELSEWHERE = (b"cross-site", b"same-site")


class Origins:
    """Refuses requests that a page of another site, or a browser under an unknown name, has sent."""

    def __init__(self, listener: socket.socket, names: Iterable[str]) -> None:
        """Allow this machine's own names, and some besides.

        A socket that listens on every address (``--host 0.0.0.0``) may be asked by any address (only a name can be
        made to lead here) and by the machine's name.

        Args:
            listener: that the service answers on.
            names: and addresses besides, without ports.
        """
        address = listener.getsockname()[0]
        self._every_address = ipaddress.ip_address(address).is_unspecified
        own = socket.gethostname() if self._every_address else address
        self._names = {"localhost", "127.0.0.1", "::1", own.lower(), *(name.strip("[]").lower() for name in names)}

    def check(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Let a request pass, or not.

        Raises:
            Refusal: 421, the service does not have this name; 403, another site's page asks.
        """
        host = headers.get(b"host")  # HTTP/1.0 may leave it out; browsers do not
        if host is not None and not self._is_here(_name(host.decode("latin-1"))):
            raise Refusal(421, "The service is not known by this host name; see SENTIFLOW_SERVE_HOSTS.")
        origin = headers.get(b"origin", b"").lower()
        if origin and (host is None or origin not in (b"http://" + host.lower(), b"https://" + host.lower())):
            raise _foreign()
        if headers.get(b"sec-fetch-site") in _ELSEWHERE and not _is_link(method, headers):
            raise _foreign()

    def _is_here(self, name: str) -> bool:
        return name in self._names or (self._every_address and _is_address(name))


def _foreign() -> Refusal:
    return Refusal(403, "Pages of other sites may not use this service.")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """The host of a Host header, without port and brackets; empty for anything malformed."""
    name, colon, port = host.lower().rpartition(":")
    if not colon or "]" in port:
        name, port = host.lower(), "0"
    if not port.isdecimal():
        return ""
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return "" if ":" in name else name


def _is_link(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a person follows a link to a page here: it replaces the other site's page, which learns nothing."""
    shown = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
    return method == "GET" and shown == (b"navigate", b"document")
