"""Tests of how bodies of ``/predict`` are read, without a service."""

import asyncio
import threading

import pytest
from fastapi import HTTPException

from sentiflow.serving.schemas import _SMALL, BodyParser

PARSER = BodyParser(max_characters=10, max_texts=3)


def predicted(body: bytes) -> list[str]:
    return asyncio.run(PARSER.texts(PARSER.predict, body))


@pytest.mark.parametrize("body", [b'{"text": "secret-and-long"}', b'{"texts": "secret"}', b'{"secret": "secret"}'])
def test_a_refusal_quotes_no_word_of_the_body_and_its_cause_neither(body: bytes) -> None:
    with pytest.raises(HTTPException) as caught:
        predicted(body)
    assert caught.value.__cause__ is not None
    assert "secret-and" not in str(caught.value.__cause__) + str(caught.value.detail)
    assert "input_value" not in str(caught.value.__cause__)


def test_large_bodies_are_read_one_after_the_other() -> None:
    both_asked = threading.Event()

    def read(_: bytes) -> list[str]:
        both_asked.wait(10)
        return [threading.current_thread().name]

    async def ask_twice() -> list[list[str]]:
        answers = [asyncio.ensure_future(PARSER.read(read, bytes(_SMALL + 1))) for _ in range(2)]
        await asyncio.sleep(0)
        both_asked.set()
        return await asyncio.gather(*answers)

    first, second = asyncio.run(ask_twice())
    assert first == second != [threading.current_thread().name]
