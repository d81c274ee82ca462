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
from sentiflow.settings import Settings, load_settings
from tests.receiver import PATH, receiver
from tests.servers import free_port

PASSWORD = "hush-hush"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_PAUSE", 0.0)
    monkeypatch.setattr("apprise.NotifyBase.request_rate_per_sec", 0)


def to(*addresses: str, **more: Any) -> Settings:
    return Settings(notify_url=" ".join(addresses), notify_timeout=5, **more)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("answers", [[], [500], [429, 503]], ids=str)
def test_a_message_arrives_though_the_other_side_is_busy_twice(answers: list[int]) -> None:
    with receiver(answers) as got:
        send(to(got.address), "promoted", "as it is: é", model="m")
    assert len(got.messages) == len(answers) + 1
    fields = {name: value for name, value in got.messages[-1].items() if name != "at"}
    assert fields == {"text": "Sentiflow: as it is: é", "event": "promoted", "model": "m"}
    assert got.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize(("answers", "sent"), [([404], 1), ([302], 1), ([500, 500, 500], 3)], ids=str)
def test_a_refusal_is_told_without_the_address(answers: list[int], sent: int) -> None:
    with receiver(answers) as got:
        problems = send(to(got.address), "failed", "")
    assert len(got.messages) == sent
    assert problems == [f"The webhook answered {answers[-1]}. Check SENTIFLOW_NOTIFY_URL."]


def test_nobody_there_is_told_without_the_address() -> None:
    port = free_port()
    (problem,) = send(to(f"http://127.0.0.1:{port}{PATH}"), "failed", "")
    assert problem == "The webhook does not answer (Connection refused). Check SENTIFLOW_NOTIFY_URL."


@pytest.mark.parametrize(("login", "sent"), [("me:p%40ss", b"me:p@ss"), ("t0ken", b"t0ken:")], ids=str)
def test_name_and_password_of_the_address_are_sent_as_such(login: str, sent: bytes) -> None:
    with receiver() as got:
        send(to(got.address.replace("://", f"://{login}@")), "failed", "")
    assert got.headers[0]["authorization"] == "Basic " + base64.b64encode(sent).decode()
    assert login not in got.headers[0]["host"]


def test_mail_and_a_webhook_get_the_same_message_though_a_third_address_fails(mail: tuple[Mailbox, str]) -> None:
    box, address = mail
    gone = f"mailto://user:{PASSWORD}@127.0.0.1:{free_port()}/?from=a@example.org&to=b@example.org&mode=insecure"
    with receiver() as got:
        problems = send(to(gone, address, got.address), "refused", "m version 2 was not promoted: too slow")
    assert problems == ["The address of mailto:// did not take it. Check SENTIFLOW_NOTIFY_URL."]
    (letter,) = box.mails
    assert (letter["To"], letter["Subject"]) == ("ops@example.org", "Sentiflow")
    body = letter.get_body(("plain", "html"))
    assert body is not None and "Sentiflow: m version 2 was not promoted: too slow" in body.get_content()
    assert [message["event"] for message in got.messages] == ["refused"]


def test_what_libraries_log_of_an_address_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiver([500] * 3) as got:
        for address in (f"json://me:{PASSWORD}@{got.address.removeprefix('http://')}", f"slack://{PASSWORD}"):
            announce(to(address), logging.getLogger("test"), "drifted", "the message")
    assert [record.name for record in caplog.records] == ["test", "test"]
    assert "The message 'the message' was not sent: The address of json:// did not take it" in caplog.text
    assert "slack:// is not one that Apprise can use" in caplog.text
    assert PASSWORD not in caplog.text and PATH not in caplog.text


def test_only_what_is_asked_for_is_sent() -> None:
    with receiver() as got:
        send(to(got.address), "success", "by default not sent")
        send(to(got.address, notify_on="success, promoted"), "success", "sent")
        send(to(got.address, notify_on="success, promoted"), "failed", "not sent")
        send(Settings(), "failed", "sent nowhere")
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
