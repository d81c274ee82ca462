"""Tests of how bodies of ``/predict`` are read, without a service."""

import asyncio

import pytest
from fastapi import HTTPException

from sentiflow.serving.schemas import BodyParser, request_body

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


def test_openapi_says_that_a_body_is_needed() -> None:
    assert request_body(PARSER.predict)["requestBody"]["required"] is True
