import base64

import pytest
from pydantic import SecretStr

from sentiflow.errors import ExternalError
from sentiflow.orchestration import notify
from sentiflow.orchestration.notify import post
from tests.receiver import PATH, receiver
from tests.servers import free_port


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_PAUSE", 0.0)


@pytest.mark.parametrize("answers", [[], [500], [429, 503]], ids=str)
def test_a_message_arrives_though_the_other_side_is_busy_twice(answers: list[int]) -> None:
    with receiver(answers) as got:
        post(SecretStr(got.address), {"text": "as it is: é"}, timeout=5)
    assert got.messages == [{"text": "as it is: é"}] * (len(answers) + 1)
    assert got.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize(("answers", "sent"), [([404], 1), ([302], 1), ([500, 500, 500], 3)], ids=str)
def test_a_refusal_is_an_error_that_does_not_name_the_address(answers: list[int], sent: int) -> None:
    with receiver(answers) as got, pytest.raises(ExternalError, match=f"answered {answers[-1]}") as caught:
        post(SecretStr(got.address), {}, timeout=5)
    assert len(got.messages) == sent
    assert PATH not in str(caught.value) and caught.value.__cause__ is None


def test_nobody_there_is_an_error_that_does_not_name_the_address() -> None:
    port = free_port()
    with pytest.raises(ExternalError, match="does not answer .Connection refused") as caught:
        post(SecretStr(f"http://127.0.0.1:{port}{PATH}"), {}, timeout=5)
    assert PATH not in str(caught.value) and str(port) not in str(caught.value)


def test_name_and_password_of_the_address_are_sent_as_such() -> None:
    with receiver() as got:
        post(SecretStr(got.address.replace("://", "://me:p%40ss@")), {}, timeout=5)
    assert got.headers[0]["authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert "p%40ss" not in got.headers[0]["host"]
