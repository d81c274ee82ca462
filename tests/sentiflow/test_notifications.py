"""Messages, received by real servers for HTTP and mail."""

import base64
import logging
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from sentiflow import notifications
from sentiflow.errors import UsageError
from sentiflow.notifications import announce, send
from sentiflow.settings import Notification, Settings, load_settings
from tests.receiver import PATH, receiver
from tests.servers import free_port

PASSWORD = "hush-hush"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_PAUSE", 0.0)
    monkeypatch.setattr("apprise.NotifyBase.request_rate_per_sec", 0)


def to(*addresses: str, **more: Any) -> Settings:
    return Settings(notify_url=" ".join(addresses), **more)  # type: ignore[arg-type]


def told(settings: Settings, what: Notification, text: str = "", **more: str) -> list[str]:
    """Send to all addresses; gives the problems."""
    return send(settings, what, text, **more)


class Mailbox:
    """What a mail server took."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, str]]:
    """A mail server, and its address for the settings."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), ready_timeout=60)
    controller.start()
    yield box, f"mailto://127.0.0.1:{controller.port}/?from=sentiflow@example.org&to=ops@example.org&mode=insecure"
    controller.stop()


@pytest.mark.parametrize("answers", [[], [500], [429, 302]], ids=str)
def test_a_message_arrives_though_the_other_side_is_busy_twice(answers: list[int]) -> None:
    with receiver(answers) as got:
        assert told(to(got.address), "promoted", "as it is: 50%20 <b> é", model="m") == []
    assert len(got.messages) == len(answers) + 1
    fields = {name: got.messages[-1][name] for name in ("title", "text", "event", "model")}
    assert fields == {
        "title": "Sentiflow", "text": "Sentiflow: as it is: 50%20 <b> é", "event": "promoted", "model": "m",
    }  # fmt: skip
    assert got.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize("answers", [[404] * 3, [302] * 3], ids=str)
def test_a_refusal_is_told_without_the_address(answers: list[int]) -> None:
    with receiver(answers) as got:
        problems = told(to("slack://x", got.address), "failed")
    assert len(got.messages) == 3
    assert problems[1] == "Address 2 of SENTIFLOW_NOTIFY_URL, http://, did not take it."


@pytest.mark.parametrize(("login", "sent"), [("me:p%40ss", b"me:p@ss"), ("t0ken", b"t0ken:")], ids=str)
def test_password_and_query_of_a_webhook_are_sent_as_they_are(login: str, sent: bytes) -> None:
    with receiver() as got:
        told(to(got.address.replace("://", f"://{login}@") + "?key=a%2Fb&n=1"), "failed")
    assert got.headers[0]["authorization"] == "Basic " + base64.b64encode(sent).decode()
    assert got.queries == ["key=a%2Fb&n=1"]


def test_mail_and_a_webhook_get_the_same_message_though_a_third_address_fails(mail: tuple[Mailbox, str]) -> None:
    box, address = mail
    gone = f"mailto://user:{PASSWORD}@127.0.0.1:{free_port()}/?from=a@example.org&to=b@example.org&mode=insecure"
    with receiver() as got:
        settings = to(gone, address, got.address)
        problems = send(settings, "refused", "m version 2 was not promoted: too slow")
    assert problems == ["Address 1 of SENTIFLOW_NOTIFY_URL, mailto://, did not take it."]
    (letter,) = box.mails
    assert (letter["To"], letter["Subject"]) == ("ops@example.org", "Sentiflow")
    body = letter.get_body(("plain", "html"))
    assert body is not None and "Sentiflow: m version 2 was not promoted: too slow" in body.get_content()
    assert [message["event"] for message in got.messages] == ["refused"]


def test_what_libraries_log_of_an_address_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiver([500] * 3) as got:
        for address in (f"json://me:{PASSWORD}@{got.address.removeprefix('http://')}", f"slack://{PASSWORD}"):
            announce(to(address), "drifted", "the message")
    assert [record.name for record in caplog.records] == ["sentiflow.notifications"] * 2
    assert "The message 'the message' was not sent: Address 1" in caplog.text
    assert PASSWORD not in caplog.text and PATH not in caplog.text


def test_only_what_is_asked_for_is_sent() -> None:
    with receiver() as got:
        announce(to(got.address), "success", "by default not sent")
        announce(to(got.address, notify_on="success, promoted"), "success", "sent")
        announce(to(got.address, notify_on="success, promoted"), "failed", "not sent")
        announce(Settings(), "failed", "sent nowhere")
    assert [message["text"] for message in got.messages] == ["Sentiflow: sent"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("NOTIFY_ON", "failed,lost", "SENTIFLOW_NOTIFY_ON"), ("NOTIFY_URL", f"{PASSWORD}", "SENTIFLOW_NOTIFY_URL")],
)
def test_a_wrong_setting_is_told_and_no_secret(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SENTIFLOW_{name}", value)
    with pytest.raises(UsageError, match=says) as caught:
        load_settings()
    assert PASSWORD not in str(caught.value)
