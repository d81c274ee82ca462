"""Requests and answers of the service: schemas, reading of bodies, refusals."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sentiflow.scoring import TextScorer, Word

Detail = str | Sequence[Mapping[str, Any]]

SOON = {"Retry-After": "1"}
CLOSE = {"Connection": "close"}


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """Ends a request with a status and its reason."""

    def __init__(self, status: int, detail: Detail, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.detail, self.headers = status, detail, headers

    @property
    def response(self) -> Response:
        """The answer."""
        content = json.dumps({"detail": self.detail}, ensure_ascii=False)
        return Response(content, self.status, dict(self.headers or {}), "application/json")

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer outside of a framework."""
        await self.response(scope, receive, send)


def invalid(message: str, kind: str, *where: str | int) -> Refusal:
    """A body that says something wrong: 422 in the shape of FastAPI's own."""
    return Refusal(422, [{"loc": ["body", *where], "msg": message, "type": kind}])


_CHECK = "A quiet film that stays with you, although the ending was a mess."


@dataclass(frozen=True)
class Champion:
    """What a registry says of the version in use.

    Attributes:
        name: of the registered model.
        number: of the version.
        run_id: of the training that made it; None when it is not known.
        accuracy: on the test split, 0 to 1; None when it is not known.
    """

    name: str
    number: int
    run_id: str | None
    accuracy: float | None


@dataclass(frozen=True)
class Loaded:
    """A champion, ready to score."""

    champion: Champion
    scorer: TextScorer


@dataclass(frozen=True)
class Source:
    """How the service reaches the registry; both calls may take seconds and may raise.

    Attributes:
        find: the champion, or None when there is none.
        load: what a champion scores with.
        absent: what to tell who asks while there is none: what is the matter, and what to do.
    """

    find: Callable[[], Champion | None]
    load: Callable[[Champion], TextScorer]
    absent: str


def load(source: Source, champion: Champion) -> Loaded:
    """Load a champion, and let it score and explain a text, so that nobody's request is the first.

    Raises:
        ValueError: what it says makes no sense.
        Exception: whatever loading raises.
    """
    scorer = source.load(champion)
    (score,), told = scorer.score([_CHECK], threads=1), scorer.explain(_CHECK).score
    if not 0 <= score <= 1 or not np.isclose(score, told, rtol=0, atol=1e-9):
        raise ValueError(f"a text scores {score}, and {told} word by word")
    return Loaded(champion, scorer)


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


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Answering(_Answer):
    """The version that answered."""

    name: str
    version: int


class Prediction(_Answer):
    """One text's sentiment."""

    label: str = Field(description="positive or negative")
    score: float = Field(ge=0, le=1, description="Probability of positive")


class Predictions(_Answer):
    """One prediction a text, in the order of the texts."""

    predictions: list[Prediction]
    model: Answering


class Explanation(_Answer):
    """A score, word by word; start and all changes add up to it."""

    label: str
    score: float = Field(ge=0, le=1)
    start: float = Field(ge=0, le=1, description="Before the first word")
    words: tuple[Word, ...]
    model: Answering


class ModelFacts(Answering):
    """The version in use."""

    run_id: str | None = Field(description="MLflow run of its training")
    accuracy: float | None = Field(description="On the test split, 0 to 1")


class Health(_Answer):
    """The process answers."""

    status: str = "alive"


class Readiness(_Answer):
    """Whether texts can be scored."""

    ready: bool
    model: Answering | None
    problem: str = Field(description="What is the matter; empty when nothing is")


class Refused(_Answer):
    """Why not, and what to do."""

    detail: str


class Fault(_Answer):
    """One thing that is wrong with a body."""

    loc: list[str | int]
    msg: str
    type: str


class Invalid(_Answer):
    """What is wrong with a body."""

    detail: list[Fault]


def answering(champion: Champion) -> Answering:
    """Who answers, in short."""
    return Answering(name=champion.name, version=champion.number)


def text_schema(most_characters: int) -> dict[str, Any]:
    """JSON schema of one text."""
    return {"type": "string", "minLength": 1, "maxLength": most_characters, "pattern": r"\S"}


def request_body(properties: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI of a JSON body that holds exactly one of some properties."""
    one_of = [{"required": [name]} for name in properties]
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    schema |= {"oneOf": one_of} if len(one_of) > 1 else one_of[0]
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}
