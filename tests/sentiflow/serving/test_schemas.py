"""Tests of how bodies are read, without a service."""

import asyncio

import pytest
from fastapi import HTTPException

from sentiflow.serving.schemas import BodyParser, outside_strings, request_body, texts_of

PARSER = BodyParser(max_characters=10, max_texts=3)


def predicted(body: bytes) -> list[str]:
    return asyncio.run(PARSER.texts(PARSER.predict, bytearray(body)))


def test_a_list_may_hold_one_text_and_not_none() -> None:
    assert predicted(b'{"texts": ["a"]}') == ["a"]
    with pytest.raises(HTTPException) as caught:
        predicted(b'{"texts": []}')
    assert caught.value.status_code == 422


@pytest.mark.parametrize("body", [b'{"text": "secret-and-long"}', b'{"texts": "secret"}', b'{"secret": "secret"}'])
def test_a_refusal_quotes_no_word_of_the_body_and_its_cause_neither(body: bytes) -> None:
    with pytest.raises(HTTPException) as caught:
        predicted(body)
    assert caught.value.__cause__ is not None
    assert "secret-and" not in str(caught.value.__cause__) + str(caught.value.detail)
    assert "input_value" not in str(caught.value.__cause__)


def test_as_many_strings_as_the_limit_are_no_more_than_it() -> None:
    assert outside_strings(bytearray(b'"a" "b"'), 2) == b""
    assert outside_strings(bytearray(b'"a" "b"'), 1) is None


def test_besides_its_texts_a_body_of_mlflows_may_hold_64_bytes_for_each_and_1024() -> None:
    def body(size: int) -> bytearray:
        digits = size - len("{:[],:}")  # what else stands outside of strings
        return bytearray(b'{"inputs":["a"],"id":' + b"1" * digits + b"}")

    most = 64 * 3 + 1_024
    assert texts_of("application/json", 10, 3, body(most)) == ["a"]
    with pytest.raises(HTTPException, match="Too much besides the texts"):
        texts_of("application/json", 10, 3, body(most + 1))


def test_a_field_of_a_csv_may_be_longer_than_python_allows_by_itself() -> None:
    text = "a" * 131_073
    assert texts_of("text/csv", 200_000, 3, bytearray(f"text\n{text}\n".encode())) == [text]


def test_openapi_says_that_a_body_is_needed() -> None:
    assert request_body(PARSER.predict)["requestBody"]["required"] is True
