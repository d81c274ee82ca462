"""Request bodies, read strictly: from raw bytes, whatever their content type says.

Wrong types, other fields, duplicate keys, bad UTF-8, half of a surrogate pair: 422, with where and what, and
without anything of the body in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, ValidationError

from serving.service.refusals import Refusal, invalid

# Other fields are refused below: here each of a million would become an error of its own.
_STRICT = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Predict(BaseModel):
    model_config = _STRICT

    # The defaults are never used: which of the two was given is asked for below.
    text: str = ""
    texts: Annotated[list[str], FailFast()] = []


class _Explain(BaseModel):
    model_config = _STRICT

    text: str


B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True)
class Limits:
    """How much of everything.

    Attributes:
        body: bytes of a request.
        text: characters of a text.
        texts: of a request.
        queue: texts that wait.
        body_seconds: that a body may take to arrive.
    """

    body: int
    text: int
    texts: int
    queue: int
    body_seconds: float = 30.0

    @property
    def most_texts(self) -> int:
        """Of a request: more than fit into the queue would be told to come back for ever."""
        return min(self.texts, self.queue)


def texts_of(body: bytes, limits: Limits) -> list[str]:
    """The texts to score.

    Raises:
        Refusal: 422.
    """
    read = _read(_Predict, body)
    if len(read.model_fields_set) != 1:
        raise invalid('Expected exactly one of "text" and "texts"', "one_of")
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
    return _checked(_read(_Explain, body).text, limits, "text")


def _checked(text: str, limits: Limits, *where: str | int) -> str:
    if not text.strip():
        raise invalid("Expected a text, got a blank one", "text_blank", *where)
    if len(text) > limits.text:
        raise invalid(f"Expected at most {limits.text} characters, got {len(text)}", "text_too_long", *where)
    return text


def _read(kind: type[B], body: bytes) -> B:
    try:
        read = kind.model_validate_json(body)
        # The parser above takes other fields and the last of two; the standard library's tells of all.
        keys = json.loads(body, object_pairs_hook=_keys)
    except ValidationError as err:
        raise Refusal(422, _faults(err)) from err
    except ValueError as err:
        raise invalid("Expected each key once", "duplicate_key") from err
    if not keys <= kind.model_fields.keys():
        raise invalid(f"Expected no other field than {' and '.join(kind.model_fields)}", "extra_forbidden")
    return read


def _keys(pairs: Sequence[tuple[str, Any]]) -> set[str]:
    keys = {key for key, _ in pairs}
    if len(keys) != len(pairs):
        raise ValueError("a key stands twice")
    return keys


def _faults(err: ValidationError) -> list[dict[str, Any]]:
    return [
        {"loc": ["body", *fault["loc"]], "msg": fault["msg"], "type": fault["type"]}
        for fault in err.errors(include_url=False, include_input=False)
    ]
