"""Hundreds of generated bodies: none gives a 500, none is echoed, and the service goes on."""

import json
import random
from collections.abc import Callable

import httpx
import pytest

from tests.sentiflow.serving.service import Running, exchange

SECRET = "do-not-echo-me"
HUGE_NUMBER = "9" * 5_000
WHITE, EMOJI, ARABIC = " \t\n\u00a0\u2003", "😀👩‍👩‍👧‍👦🏳️‍🌈", "فيلم رائع جدا"

# Each is refused with 422, whatever the path.
REFUSED = {
    "nothing": b"",
    "an array": b'["do-not-echo-me"]',
    "an empty object": b"{}",
    "null for a text": b'{"text": null}',
    "another field": b'{"text": "good", "do-not-echo-me": 1}',
    "bad UTF-8": b'{"text": "good \xff\xfe do-not-echo-me"}',
    "half a surrogate pair": b'{"text": "\\ud83d do-not-echo-me"}',
    "a surrogate in bytes": b'{"text": "\xed\xa0\x80"}',
    "a raw control character": b'{"text": "a\x01b"}',
    "UTF-16": '{"text": "good"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"text": "good"}',
    "deep arrays": b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "cut off": b'{"text": "good',
    "binary": bytes(range(256)) * 50,
    "a million numbers": b'{"texts": [' + b"0," * 1_000_000 + b"0]}",
    "a million keys": b"{" + b",".join(b'"k%d": 1' % i for i in range(200_000)) + b"}",
    "a blank text": json.dumps({"text": WHITE}).encode(),
}
FOR_PREDICT = {
    "both": b'{"text": "good", "texts": ["good"]}',
    "a text for texts": b'{"texts": "do-not-echo-me"}',
    "a number among texts": b'{"texts": ["good", 5, "bad"]}',
    "arrays in texts": b'{"texts": [["good"]]}',
}


FORMS = ["dataframe_records", "instances", "inputs"]


def check_refusal(response: httpx.Response) -> None:
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/json"
    faults = response.json()["detail"]
    assert 1 <= len(faults) <= 10
    for fault in faults:
        assert set(fault) == {"loc", "msg", "type"}
        assert fault["loc"][0] == "body"
    assert SECRET not in response.text and len(response.content) < 5_000


@pytest.mark.parametrize("path", ["/predict", "/explain"])
@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_a_malformed_body_gets_422_in_json_without_an_echo(http: httpx.Client, path: str, body: bytes) -> None:
    check_refusal(http.post(path, content=body))


@pytest.mark.parametrize("body", FOR_PREDICT.values(), ids=FOR_PREDICT)
def test_a_malformed_list_gets_422_in_json_without_an_echo(http: httpx.Client, body: bytes) -> None:
    check_refusal(http.post("/predict", content=body))


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "a\x00b\x1b[31m",
        EMOJI,
        ARABIC,
        "\u202egnp.exe",
        'quotes \\" \\\\ "and" braces {[:,]}',
        '\\"{[:,]}' * 12_000,
    ],
)
def test_a_strange_text_is_scored_and_explained_alike(http: httpx.Client, text: str) -> None:
    score = http.post("/predict", json={"text": text}).json()["predictions"][0]["score"]
    assert 0 <= score <= 1
    assert http.post("/explain", json={"text": text}).json()["score"] == pytest.approx(score, abs=1e-9)


def damaged(random_: random.Random) -> bytes:
    """A body made from pieces of good and bad ones, then damaged."""
    pieces: list[Callable[[], bytes]] = [
        lambda: random_.choice(list(REFUSED.values()))[:2_000],
        lambda: random_.randbytes(random_.randrange(200)),
        lambda: json.dumps({"texts": [EMOJI, ARABIC, SECRET] * random_.randrange(4)}).encode(),
        lambda: json.dumps({"text": random_.choice([None, 1, "good", [], {"a": 1}, True])}).encode(),
        lambda: json.dumps(
            {random_.choice(FORMS): random_.choice([["good"], [{"text": "good"}], [1], None])}
        ).encode(),
        lambda: random_.choice([b"text\ngood\n", b'text,"a\n', b"id,text\n1,good\n"]),
        lambda: "".join(chr(random_.randrange(32, 0xD7FF)) for _ in range(50)).encode(),
    ]
    body = bytearray(b"".join(random_.choice(pieces)() for _ in range(random_.randrange(1, 3))))
    for _ in range(random_.randrange(4)):
        if body:
            body[random_.randrange(len(body))] = random_.randrange(256)
    return bytes(body)


def ask_damaged(http: httpx.Client, random_: random.Random) -> bool:
    """Send a damaged body to one of the paths; whether it was good enough to be answered."""
    body, path = damaged(random_), random_.choice(["/predict", "/explain", "/invocations"])
    headers = {"Content-Type": random_.choice(["application/json", "text/csv"])}
    response = http.post(path, content=body, headers=headers)
    refusal = 400 if path == "/invocations" else 422
    assert response.status_code in (200, refusal), (path, response.status_code, body)
    if response.status_code == 422:
        check_refusal(response)
    assert response.status_code == 200 or (SECRET not in response.text and len(response.content) < 5_000)
    return response.status_code == 200


def test_four_hundred_damaged_bodies_are_answered_or_refused_and_the_service_goes_on(http: httpx.Client) -> None:
    random_ = random.Random(20)
    assert {ask_damaged(http, random_) for _ in range(400)} == {True, False}
    assert http.post("/predict", json={"text": "still there"}).status_code == 200


def test_what_is_no_http_gets_no_500_and_no_line_in_the_log(served: Running, http: httpx.Client) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /predict\r\n\r\n",
        b"\r\n\r\n\r\n x",
    ):
        assert b" 500 " not in exchange(served, sent)[:20]
    assert http.get("/healthz").status_code == 200
    assert not [line for line in served.lines if "uvicorn" in line]
