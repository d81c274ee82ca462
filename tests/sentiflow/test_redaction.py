"""Tests of what text may carry to where it is seen."""

import time
import unicodedata

import pytest

from sentiflow.redaction import printable, redact

SECRETS = [
    "postgresql://me:S3CRET@db:5432/mlflow",
    "postgresql://me:p@S3CRET@db/mlflow",
    "postgresql://me:p/S3CRET@db/mlflow",
    "postgresql://me:p:S3CRET@db/mlflow",
    "postgresql://me:p?S3CRET@db/mlflow",
    "postgresql://me:p#S3CRET@db/mlflow",
    "postgresql://me:%40S3CRET@[::1]:5432/mlflow",
    "postgresql://db/mlflow?password=S3CRET",
    "postgresql://db/mlflow?user=me&sslpassword=S3CRET&sslmode=require",
    "http://me:S3CRET@127.0.0.1:5000",
    "https://S3CRET@mlflow.example",
    "https://h/imdb.npz?sig=S3CRET&se=2026",
    "https://h/imdb.npz?S3CRET",
    "https://h/imdb.npz?a=b?token=S3CRET",
    "https://h/x#access_token=S3CRET",
    "redis://:S3CRET@cache:6379/0",
    "me:S3CRET@mlflow.example",
    "host=db user=me password=S3CRET dbname=x",
    r"host=db password = 'p \' S3CRET' dbname=x",
    "MLFLOW_TRACKING_PASSWORD=S3CRET",
    "//me:S3CRET@h/x",
    "Authorization: Bearer S3CRET",
    "Authorization: Basic S3CRET=",
    "Authorization: S3CRET",
    "{'authorization': 'Bearer S3CRET'}",
    '{"Authorization": "S3CRET"}',
    "Bearer S3CRET",
]


@pytest.mark.parametrize("address", SECRETS)
def test_an_address_is_shown_without_its_secrets(address: str) -> None:
    assert "S3CRET" not in redact(address)
    assert redact(redact(address)) == redact(address)


@pytest.mark.parametrize("address", SECRETS)
@pytest.mark.parametrize(
    "text",
    [
        "Cannot reach {}: connection refused",
        "('{}', 5432) failed.",
        'the server at "{}", then {}, said no to a@b',
        "first line\nsecond line of {}\nthird",
    ],
)
def test_a_text_is_shown_without_the_secrets_of_its_addresses(text: str, address: str) -> None:
    assert "S3CRET" not in redact(text.format(address, address))


def test_a_library_that_names_the_path_and_the_query_alone_gives_no_secret_away() -> None:
    text = (
        "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /x/imdb.npz?token=S3CRET (Caused by"
    )
    assert redact(text).startswith(
        "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /x/imdb.npz"
    )
    assert "S3CRET" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000",
        "http://[::1]:5000/#/experiments/1",
        "http://h:80/#/m@champion",
        "https://h/@user/file@v2.npz",
        "sqlite:////home/me@corp/mlflow.db",
        "file:///srv/a:b/x",
        "sqlite:////srv/a#b/mlflow.db",
        "file:///srv/a#b/artifacts",
        "/srv/mirror/imdb.npz",
        "models:/imdb-sentiment@champion",
        "imdb-sentiment@champion and imdb-sentiment/7",
        "Is it so? Yes: n_tokens=5, token_ids=[1, 2] at 12:30 by a@b.example",
        "The Prefect server at http://127.0.0.1:4200/api does not answer.",
        "Look at http://127.0.0.1:5000: it was sent by me@home.example.",
        'File "/x/y.py", line 3, in <module>\n    @cache\n',
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_values_of_secret_variables_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", "slack://T/B/S3CRET")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "short")
    assert redact("a short line of slack://T/B/S3CRET.") == "a short line of ***."


def test_the_rest_of_an_address_stays() -> None:
    assert redact("postgresql://me:s3cret@db:5432/mlflow?x=y") == "postgresql://***@db:5432/mlflow?***"


@pytest.mark.parametrize(
    "piece",
    [
        "://x:", "://a:1/", "a:b", "/?", "password=", "'", "@", "://@", "://", "//a:",
        "Authorization: ", "Bearer ",
    ],
)  # fmt: skip
def test_a_long_text_takes_no_long_time(piece: str) -> None:
    """Red if a rule looked at the same characters many times: seconds, for this."""
    began = time.process_time()
    redact(piece * 60_000)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\bc\x7f\0", r"a\rb\x08c\x7f\x00"),
        ("one\ntwo\tthree\x0b\x0c\x85\u2028\u2029", r"one\ntwo\tthree\x0b\x0c\x85\u2028\u2029"),
        ("\u202eabc\u2066\u200f\u061c", r"\u202eabc\u2066\u200f\u061c"),
        ("\ufeff\u200b\u00ad\U000e0041", r"\ufeff\u200b\xad\U000e0041"),
        ("\udc80", r"\udc80"),
    ],
)
def test_a_terminal_is_shown_what_it_must_not_obey(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text", ["Ein Film, naïve …", "映画\u3000です", "a\u00a0b", "می\u200cخواهم", "👩\u200d👧"]
)
def test_ordinary_text_of_any_language_stays(text: str) -> None:
    assert printable(text) == text


def test_no_character_that_is_left_can_steer_a_terminal() -> None:
    """Red if a class of characters were forgotten: all there are, but for joiners."""
    left = {char for char in map(chr, range(0x110000)) if printable(char) == char}
    steering = {char for char in left if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert steering == {"\u200c", "\u200d"}


def test_line_ends_stay_where_they_are_asked_for() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_links_to_mlflows_pages_keep_their_query_and_no_other() -> None:
    link = "http://127.0.0.1:5000/#/experiments/1/runs/3f9a?workflowType=machine_learning"
    assert redact(f"MLflow run: {link}") == f"MLflow run: {link}"
    assert redact(f"[run]({link})") == f"[run]({link})"
    assert redact(f"{link}&token=s3cret") == "http://127.0.0.1:5000/#/experiments/1/runs/3f9a?***"
    queue = f"http://127.0.0.1:5000/#/experiments/2/review-queue?selectedQueueId=rq-{'0af1' * 8}"
    assert redact(f"Label it: {queue}") == f"Label it: {queue}"
    assert redact(f"{queue}&token=s3cret") == "http://127.0.0.1:5000/#/experiments/2/review-queue?***"
    assert redact(f"{queue}9") == "http://127.0.0.1:5000/#/experiments/2/review-queue?***"
