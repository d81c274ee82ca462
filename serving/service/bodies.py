"""Request bodies, read strictly: from raw bytes, whatever their content type says.

Wrong types, other fields, duplicate keys, bad UTF-8, half of a surrogate pair: 422, with where and what, and
without anything of the body in it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, ValidationError

from serving.service.refusals import Refusal, invalid

SMALL = 64_000  # bytes of a body that is parsed in a fraction of a millisecond, and needs no room of its own
_MAX_FAULTS = 10
_STRICT = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class _Predict(BaseModel):
    model_config = _STRICT

    # The defaults are never used: a body has exactly one of the two.
    text: str = ""
    texts: Annotated[list[str], FailFast()] = []


class _Explain(BaseModel):
    model_config = _STRICT

    text: str


B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How much of everything.

    Attributes:
        body: bytes of a request.
        text: characters of a text.
        texts: of a request.
        queue: texts that wait.
        step_seconds: in which the next 64,000 bytes of a body, or its end, must arrive.
    """

    body: int
    text: int
    texts: int
    queue: int
    step_seconds: float = 5.0

    @property
    def most_texts(self) -> int:
        """Of a request: more than fit into the queue would be told to come back for ever."""
        return min(self.texts, self.queue)


class Parser:
    """Parses small bodies at once, and large ones in a thread, one at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "parser")

    async def texts(self, body: bytes) -> list[str]:
        """The texts to score.

        Raises:
            Refusal: 422.
        """
        return await self._parse(texts_of, body)

    async def text(self, body: bytes) -> str:
        """The text to explain.

        Raises:
            Refusal: 422.
        """
        return await self._parse(text_of, body)

    async def _parse(self, parse: Callable[[bytes, Limits], T], body: bytes) -> T:
        if len(body) <= SMALL:
            return parse(body, self._limits)
        return await asyncio.get_running_loop().run_in_executor(self._thread, parse, body, self._limits)


def texts_of(body: bytes, limits: Limits) -> list[str]:
    """The texts to score.

    Raises:
        Refusal: 422.
    """
    read = _read(_Predict, body, limits)
    if "text" in read.model_fields_set:
        return [_checked(read.text, limits, "text")]
    if not 1 <= len(read.texts) <= limits.most_texts:
        raise invalid(f"Expected 1 to {limits.most_texts} texts, got {len(read.texts)}", "texts_count", "texts")
    return [_checked(text, limits, "texts", i) for i, text in enumerate(read.texts)]


def text_of(body: bytes, limits: Limits) -> str:
    """The text to explain.

    Raises:
        Refusal: 422.
    """
    return _checked(_read(_Explain, body, limits).text, limits, "text")


def _checked(text: str, limits: Limits, *where: str | int) -> str:
    if len(text) > limits.text:
        raise invalid(f"Expected at most {limits.text} characters, got {len(text)}", "text_too_long", *where)
    if not text.strip():
        raise invalid("Expected a text, got a blank one", "text_blank", *where)
    return text


def _read(kind: type[B], body: bytes, limits: Limits) -> B:
    names = " or ".join(f'"{name}"' for name in kind.model_fields)
    # A valid body holds little besides its texts; any other is refused before it becomes millions of objects.
    outside = _outside_strings(body, 2 * limits.most_texts + 64)
    if outside is None:
        raise invalid(f"Expected an object with {names}; at most {limits.most_texts} texts", "too_complex")
    try:
        read = kind.model_validate_json(body)
    except ValidationError as err:
        raise Refusal(422, _faults(err, names)) from err
    if outside.count(b":") != 1:  # the parser takes the last of two equal keys
        raise invalid(f"Expected exactly one of {names}, once", "one_of")
    return read


def _outside_strings(body: bytes, most: int) -> bytes | None:
    """What stands outside of a JSON body's strings, without white space; None for more bytes or strings than that.

    Of a body that is no JSON, it holds at least what stands before the first fault, where the parser stops, too.
    """
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if body.count(b'"') > 2 * most:
        return None
    outside = b"".join(body.split(b'"')[::2]).translate(None, b" \t\r\n")
    return outside if len(outside) <= most else None


def _faults(err: ValidationError, names: str) -> list[dict[str, Any]]:
    faults = err.errors(include_url=False, include_input=False)
    if any(fault["type"] == "extra_forbidden" for fault in faults):  # their places are names out of the body
        return [{"loc": ["body"], "msg": f"Expected no other field than {names}", "type": "extra_forbidden"}]
    return [
        {"loc": ["body", *fault["loc"]], "msg": fault["msg"], "type": fault["type"]}
        for fault in faults[:_MAX_FAULTS]
    ]
