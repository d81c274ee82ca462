"""Bodies of requests, read as strict JSON or as MLflow's clients send them, and models of the answers."""

import asyncio
import csv
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Annotated, Any

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic.config import JsonDict
from pydantic_core import from_json

from sentiflow.files import read_csv
from sentiflow.scoring import Word

_SMALL = 64_000  # bytes of a body that is parsed in a fraction of a millisecond
_MAX_FAULTS = 10
_MESSAGES = {
    "string_pattern_mismatch": "The text is blank",
    "string_too_long": "The text has more than {max_length} characters",
    "extra_forbidden": "Unknown key; expected {names}",
}
_EXAMPLE: JsonDict = {"text": "A quiet film that stays with you."}

PROTOCOL = "3.17.2"  # the MLflow whose requests are read and whose answers are given
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class _Body(BaseModel):
    # Python's own regular expressions: they and str.strip mean the same by white space.
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, regex_engine="python-re")


class BodyParser:
    """Reads texts from bodies: small bodies at once, large ones in a thread, one at a time."""

    def __init__(self, max_characters: int, max_texts: int) -> None:
        rule = Field(max_length=max_characters, pattern=r"\S")

        class Predict(_Body):
            model_config = ConfigDict(
                json_schema_extra={"oneOf": [{"required": ["text"]}, {"required": ["texts"]}], "example": _EXAMPLE}
            )
            # Factories, unlike plain defaults, are not shown; a body without its field is refused.
            text: Annotated[str, rule] = Field(default_factory=str)
            texts: Annotated[list[Annotated[str, rule]], FailFast()] = Field(
                default_factory=list, min_length=1, max_length=max_texts
            )

        class Explain(_Body):
            model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})
            text: Annotated[str, rule]

        self.predict: type[BaseModel] = Predict
        self.explain: type[BaseModel] = Explain
        self.max_characters, self.max_texts = max_characters, max_texts
        self._thread = ThreadPoolExecutor(1, "parser")

    async def texts(self, model: type[BaseModel], body: bytes) -> list[str]:
        return await self.read(partial(self._texts, model), body)

    async def read(self, texts_of: Callable[[bytes], list[str]], body: bytes) -> list[str]:
        """Read a body by a function, in the thread if it is large."""
        if len(body) <= _SMALL:
            return texts_of(body)
        return await asyncio.get_running_loop().run_in_executor(self._thread, texts_of, body)

    def _texts(self, model: type[BaseModel], body: bytes) -> list[str]:
        names = " or ".join(f'"{name}"' for name in model.model_fields)
        try:
            read = model.model_validate_json(body)
        except ValidationError as err:
            raise _invalid(*err.errors(include_url=False, include_input=False), names=names) from err
        if len(read.model_fields_set) != 1:
            raise _invalid({"type": "one_of", "msg": f"Expected exactly one of {names}"})
        (name,) = read.model_fields_set
        value: str | list[str] = getattr(read, name)
        return [value] if isinstance(value, str) else value


def _invalid(*faults: Any, names: str = "") -> HTTPException:
    """422 in the shape of FastAPI's own, without any word of the body; ``names`` are the keys that it may have."""
    return HTTPException(422, [_detail(fault, names) for fault in faults[:_MAX_FAULTS]])


def _detail(fault: Any, names: str) -> dict[str, Any]:
    kind, message = fault["type"], fault["msg"]
    if kind in _MESSAGES:
        message = _MESSAGES[kind].format(**fault.get("ctx", {}), names=names)
    place = () if kind == "extra_forbidden" else fault.get("loc", ())  # its place is a name out of the body
    return {"loc": ["body", *place], "msg": message, "type": kind}


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


_TABLE = {"columns": ["text"], "data": [[_EXAMPLE["text"]]]}
INVOCATIONS_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "example": {"dataframe_split": _TABLE}}},
            "text/csv": {"schema": {"type": "string", "example": f"text\n{_EXAMPLE['text']}\n"}},
        },
    }
}
"""OpenAPI of what ``/invocations`` takes."""


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class ModelVersion(_Response):
    """Name and version of the model that answered; the base has no version."""

    name: str
    version: int | None


_LABEL = (
    "One of the model's label_names: negative or positive, or what its training table calls them; neutral if asked"
)


class Prediction(_Response):
    """One text's sentiment."""

    label: str = Field(description=_LABEL)
    score: float = Field(ge=0, le=1, description="Probability of the second of label_names")


class Answer(Prediction):
    """A prediction, and whether it says anything of the text."""

    known: bool = Field(description="Whether any word of the text is known; if not, it has an empty text's score")


class Predictions(_Response):
    """A prediction for each text, in their order."""

    predictions: list[Answer]
    model: ModelVersion


class Invocations(_Response):
    """A prediction for each text, in their order, as MLflow's scoring server gives them."""

    predictions: list[Prediction]


class Explanation(_Response):
    """A score, word by word; start and all changes add up to it."""

    label: str = Field(description=_LABEL)
    score: float = Field(ge=0, le=1)
    start: float = Field(ge=0, le=1, description="Before the first word")
    words: tuple[Word, ...]
    model: ModelVersion


class ModelInfo(ModelVersion):
    """The model in use."""

    note: str = Field(description="What it was trained on, if not your data; empty for a registered version")
    run_id: str | None = Field(description="MLflow run of its training")
    accuracy: float | None = Field(description="On the test split, 0 to 1")
    tested_on: str = Field(description="Of which rows accuracy is, where labels were left out; empty for all")
    label_names: tuple[str, str] = Field(description="The labels of scores up to 0.5, and above")
    text_name: str = Field(description="What its texts are: review or text")
    examples: tuple[str, ...] = Field(description="Texts to try it with")
    url: str | None = Field(description="Its page in MLflow, if SENTIFLOW_UI_URL is set")


class Readiness(_Response):
    """Whether texts can be scored."""

    ready: bool
    model: ModelVersion | None
    problem: str = Field(description="The reason if not ready, else empty")


class Error(_Response):
    """The reason, and what to do."""

    detail: str


class ValidationErrors(_Response):
    """All that is wrong with a body."""

    detail: list[dict[str, Any]] = Field(description="Of each fault its place loc, a message msg and its type")


def texts_of(content_type: str, max_characters: int, max_texts: int, body: bytes) -> list[str]:
    """Read the column ``text`` of a table, or a list of texts, as MLflow does; blank texts are texts."""
    kind, *parameters = content_type.lower().replace(" ", "").replace('"', "").split(";")
    if kind not in ("application/json", "text/csv", "") or any(each != "charset=utf-8" for each in parameters):
        raise HTTPException(415, "Expected application/json or text/csv, in UTF-8.")
    found = _of_csv(body, max_texts) if kind == "text/csv" else _of_json(body)
    if len(found) > max_texts:
        raise HTTPException(400, f"Expected at most {max_texts:,} texts.")
    for number, text in enumerate(found, 1):
        if not isinstance(text, str):
            raise HTTPException(400, f"Text {number} is missing, or not a string.")
        if len(text) > max_characters:
            raise HTTPException(400, f"Text {number} has more than {max_characters} characters.")
    return found


def _of_json(body: bytes) -> list[Any]:
    try:
        given = from_json(body)
    except ValueError as err:
        raise HTTPException(400, f"Expected JSON: {err}.") from err
    forms = [name for name in _FORMS if isinstance(given, dict) and name in given]
    if len(forms) != 1:
        raise HTTPException(400, f"Expected an object with exactly one of {', '.join(_FORMS)}.")
    texts = _of_form(forms[0], given[forms[0]])
    if texts is None:
        raise HTTPException(400, f"Expected texts in the column text of {forms[0]}, or a list of texts in inputs.")
    return texts


def _of_form(form: str, given: Any) -> list[Any] | None:
    """What stands for texts, or None where the form has another shape."""
    match form, given:
        case "dataframe_split", {"columns": [*columns], "data": [*rows], **more} if columns.count("text") == 1:
            whole = all(isinstance(row, list) and len(row) == len(columns) for row in rows)
            return [row[columns.index("text")] for row in rows] if whole and not more.keys() - {"index"} else None
        case "dataframe_records", [*records] if all(isinstance(record, dict) for record in records):
            return [record.get("text") for record in records]
        case "instances" | "inputs", {"text": [*texts]}:
            return texts
        case "instances" | "inputs", [*items]:
            return [item.get("text") if isinstance(item, dict) else item for item in items]
    return None


def _of_csv(body: bytes, max_texts: int) -> list[Any]:
    try:
        lines = filter(None, read_csv(io.StringIO(body.decode("utf-8-sig"), newline="")))
        header, rows = next(lines, []), list(islice(lines, max_texts + 1))
    except (UnicodeDecodeError, csv.Error) as err:
        raise HTTPException(400, f"Expected CSV in UTF-8: {err}.") from err
    if header.count("text") != 1 or any(len(row) > len(header) for row in rows):
        raise HTTPException(400, "Expected CSV with a header, a column text, and no more fields in a row.")
    at = header.index("text")
    return ["".join(row[at : at + 1]) or None for row in rows]
