"""One message to a webhook, whose address is a secret and stands in no message of ours."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from sentiment.errors import WorldError

_ATTEMPTS = 3
_PAUSE = 1.0  # seconds before the second attempt; each further one waits twice as long
_TRY_AGAIN = 429


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the message into a GET without it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the answer then counts as an error."""


# urllib logs nothing; httpx and urllib3 put whole addresses into logs.
_OPENER = urllib.request.build_opener(_NoRedirects)


def post(address: SecretStr, message: dict[str, Any], timeout: float) -> None:
    """Send a message as JSON; tried three times when the other side is away or busy.

    Raises:
        WorldError: it was not taken; the reason names no address.
    """
    request = _request(address.get_secret_value(), json.dumps(message).encode())
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        try:
            with _OPENER.open(request, timeout=timeout):
                return
        except urllib.error.HTTPError as err:
            err.close()
            if last or (err.code < 500 and err.code != _TRY_AGAIN):
                raise WorldError(f"The webhook answered {err.code}.", "Check SENTIFLOW_NOTIFY_URL.") from None
        except (OSError, http.client.HTTPException, ValueError) as err:
            if last:
                raise WorldError(
                    f"The webhook does not answer ({_reason(err)}).", "Check SENTIFLOW_NOTIFY_URL."
                ) from None
        time.sleep(_PAUSE * 2**attempt)


def _request(address: str, body: bytes) -> urllib.request.Request:
    """A name and a password in the address go where HTTP has them."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Content-Type": "application/json", "User-Agent": "sentiflow"}
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - http(s), the settings hold it


def _reason(err: Exception) -> str:
    cause = err.reason if isinstance(err, urllib.error.URLError) else err
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__
