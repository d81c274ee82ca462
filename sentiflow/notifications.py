"""Messages to people: to webhooks as JSON, and to chats and mailboxes by Apprise."""

import base64
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from sentiflow.console import Logger
from sentiflow.errors import ExternalError
from sentiflow.settings import Notification, Settings

_ATTEMPTS = 3
_PAUSE = 1.0  # seconds before the second attempt; each further one waits twice as long


def wanted(settings: Settings, what: Notification) -> bool:
    """Whether the settings name an address, and ask for messages of this kind."""
    return bool(addresses(settings)) and what in settings.notify_on


def addresses(settings: Settings) -> list[str]:
    """Where messages go; secrets."""
    return settings.notify_url.get_secret_value().split() if settings.notify_url else []


def announce(settings: Settings, logger: Logger, what: Notification, text: str, **more: str) -> None:
    """Send a message, if it is wanted; what goes wrong is a warning in the log and changes nothing."""
    for problem in send(settings, what, text, **more):
        logger.warning("The message %r was not sent: %s", text, problem)


def send(settings: Settings, what: Notification, text: str, **more: str) -> list[str]:
    """Send a message, one line for people and more fields for programs, to each address, if its kind is wanted.

    Gives a reason for each address that did not take it; it does not name the address.
    """
    if not wanted(settings, what):
        return []
    message = {
        "text": f"Sentiflow: {text}", "event": what, "at": datetime.now(UTC).isoformat(timespec="seconds"), **more
    }  # fmt: skip
    problems = []
    for address in addresses(settings):
        try:
            if address.startswith(("http://", "https://")):
                _post(address, message, settings.notify_timeout)
            else:
                _send_by_apprise(address, message["text"], settings.notify_timeout)
        except ExternalError as err:
            problems.append(f"{err.args[0]} Check SENTIFLOW_NOTIFY_URL.")
    return problems


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the message into a GET without it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the answer then counts as an error."""


# urllib logs nothing; httpx and urllib3 put whole addresses into logs.
_OPENER = urllib.request.build_opener(_NoRedirects)


def _post(address: str, message: dict[str, str], timeout: float) -> None:
    """Send a message as JSON; tried three times when the other side is away or busy."""
    request = _request(address, json.dumps(message).encode())
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        try:
            with _OPENER.open(request, timeout=timeout):
                return
        except urllib.error.HTTPError as err:
            err.close()
            if last or (err.code < 500 and err.code != http.HTTPStatus.TOO_MANY_REQUESTS):
                raise ExternalError(f"The webhook answered {err.code}.") from None
        except (OSError, http.client.HTTPException, ValueError) as err:
            if last:
                raise ExternalError(f"The webhook does not answer ({_reason(err)}).") from None
        time.sleep(_PAUSE * 2**attempt)


def _request(address: str, body: bytes) -> urllib.request.Request:
    """A name and a password in the address go where HTTP has them."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Content-Type": "application/json", "User-Agent": "sentiflow"}
    if at:
        login = unquote(user) if ":" in user else f"{unquote(user)}:"  # a token alone has no password
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - http(s), `send` saw to it


def _reason(err: Exception) -> str:
    cause = err.reason if isinstance(err, urllib.error.URLError) else err
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__


def _send_by_apprise(address: str, text: str, timeout: float) -> None:
    """Send a line to a chat, a mailbox or whatever else Apprise knows; tried three times."""
    import apprise

    scheme = f"{address.partition('://')[0]}://"
    limits = f"{'&' if '?' in address else '?'}cto={timeout:g}&rto={timeout:g}"
    with _silenced("apprise", "urllib3"):
        target = apprise.Apprise.instantiate(address + limits)
        if target is None:
            raise ExternalError(f"An address of {scheme} is not one that Apprise can use.")
        for attempt in range(_ATTEMPTS):
            if target.notify(body=text, title="Sentiflow"):
                return
            if attempt < _ATTEMPTS - 1:
                time.sleep(_PAUSE * 2**attempt)
    raise ExternalError(f"The address of {scheme} did not take it.")


@contextmanager
def _silenced(*names: str) -> Iterator[None]:
    """Let libraries log nothing meanwhile: they name addresses."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
