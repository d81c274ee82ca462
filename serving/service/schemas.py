"""What goes in and what comes out, for the code and for the OpenAPI page."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sentiment.scoring import Word
from serving.service.champion import Champion


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
