"""Messages to people and programs, sent by Apprise: to webhooks as JSON, to chats and to mailboxes."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from sentiflow.environment import install, lacking, need
from sentiflow.settings import Notification, Settings

if TYPE_CHECKING:
    from apprise import NotifyBase

logger = logging.getLogger(__name__)

_RETRIES = 2
_PAUSE = 1.0  # seconds before each
_TIMEOUT = 10.0  # seconds that an address has to answer


def wanted(settings: Settings, what: Notification) -> bool:
    """Whether the settings name an address, and ask for messages of this kind."""
    return bool(addresses(settings)) and what in settings.notify_on


def addresses(settings: Settings) -> list[str]:
    """Where messages go; secrets."""
    return settings.notify_url.get_secret_value().split() if settings.notify_url else []


def announce(settings: Settings, what: Notification, text: str, **more: str) -> None:
    """Send a message, if it is wanted; what goes wrong is a warning in the log and changes nothing."""
    for problem in send(settings, what, text, **more) if wanted(settings, what) else ():
        logger.warning("The message %r was not sent: %s", text, problem)


def send(settings: Settings, what: Notification, text: str, **more: str) -> list[str]:
    """Send a line for people, fields for programs; gives why an address did not take it, without showing it."""
    if missing := lacking("notify"):
        return [f"Messages need {missing}: {install('notify')}"]
    from apprise import Apprise

    fields = {"event": what, "at": datetime.now(UTC).isoformat(timespec="seconds"), **more}
    problems = []
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what they log names addresses
    for place, address in enumerate(addresses(settings), 1):
        target = _target(address, fields)
        if target is None:
            reason = "is not one that Apprise can use"
        elif not Apprise(target).notify(body=f"Sentiflow: {text}", title="Sentiflow"):
            reason = "did not take it"
        else:
            continue
        kind = address.partition("://")[0]
        problems.append(f"Address {place} of SENTIFLOW_NOTIFY_URL, {kind}://, {reason}.")
    return problems


def as_apprise(settings: Settings, what: Notification) -> list[str]:
    """The addresses for a program that sends by Apprise, too, webhooks with the fields of ours; secrets."""
    if addresses(settings):
        need("notify", "A message")
    targets = (_target(address, {"event": what}) for address in addresses(settings))
    return [str(target.url()) for target in targets if target is not None]  # type: ignore[no-untyped-call]


def _target(address: str, fields: Mapping[str, str]) -> "NotifyBase | None":
    from apprise import Apprise, AppriseAsset

    # A redirect would turn the message into a GET without it.
    asset = AppriseAsset(http_redirects=False, default_service_retry=_RETRIES, default_service_wait=_PAUSE)
    if not address.startswith("http"):
        target = Apprise.instantiate(address, asset)
    else:
        parts = urlsplit(address)
        target = Apprise.instantiate(
            {
                "schema": parts.scheme.replace("http", "json"), "host": parts.netloc.rpartition("@")[2],
                "user": parts.username, "password": parts.password or "",  # a token alone has no password
                "fullpath": parts.path, "params": dict(parse_qsl(parts.query)),
            },
            asset,
        )  # fmt: skip
    if target is not None:
        target.socket_connect_timeout = target.socket_read_timeout = _TIMEOUT
        if hasattr(target, "payload_extras"):  # one that sends fields; `message` is renamed to `text`
            target.payload_extras = {"message": "text", "attachments": "", **fields, **target.payload_extras}
    return target
