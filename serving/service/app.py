"""The paths of the service."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sentiment.scoring import Reading, label_of
from serving.service import pages, schemas
from serving.service.batching import Batcher, QueueFullError
from serving.service.bodies import Limits, Parser
from serving.service.champion import Loaded
from serving.service.edge import Edge
from serving.service.metrics import Metrics
from serving.service.origins import Origins
from serving.service.refusals import SOON, Refusal
from serving.service.texts import Keeper
from serving.service.uploads import Uploads
from serving.service.watcher import Watcher

_ABOUT = "Sentiment of a text, by the version that is in use."

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Parts:
    """What the paths work with."""

    watcher: Watcher
    batcher: Batcher
    metrics: Metrics
    keeper: Keeper
    limits: Limits
    origins: Origins
    ending: Callable[[], bool] = lambda: False
    """Whether the service was told to end."""

    @property
    def loaded(self) -> Loaded:
        """Who answers now.

        Raises:
            Refusal: 503, nobody does.
        """
        state = self.watcher.state
        if state.loaded is None:
            raise Refusal(503, state.problem, SOON)
        return state.loaded


def build(parts: Parts, version: str) -> ASGIApp:
    """The whole service.

    Args:
        parts: started by whoever builds it.
        version: of this software, for the OpenAPI page.
    """
    app = FastAPI(
        title="Sentiflow",
        version=version,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(Refusal, _refuse)
    _add_answers(app, parts)
    _add_state(app, parts)
    pages.add_to(app)
    methods = {route.path: route.methods or set() for route in app.routes if isinstance(route, Route)}
    uploads = Uploads(app, parts.limits.body, parts.limits.step_seconds)
    return Edge(uploads, methods, parts.origins, parts.metrics, parts.ending)


def _add_answers(app: FastAPI, parts: Parts) -> None:
    parser = Parser(parts.limits)
    text = schemas.text_schema(parts.limits.text)
    texts = {"type": "array", "items": text, "minItems": 1, "maxItems": parts.limits.most_texts}

    async def predict(request: Request) -> Response:
        """Label and score of one text, or of many."""
        loaded = parts.loaded
        wanted = await parser.texts(await request.body())
        try:
            scores = await parts.batcher.score(loaded, wanted)
        except QueueFullError as err:
            raise _busy() from err
        parts.keeper.keep(loaded.champion, wanted, scores)
        return _answer(_predictions(loaded, scores), loaded)

    async def explain(request: Request) -> Response:
        """The score after each word of a text, and what the word added to it."""
        loaded = parts.loaded
        wanted = await parser.text(await request.body())

        def work() -> Response:  # a long text makes a long answer, so it is written in the thread, too
            reading = loaded.scorer.explain(wanted)
            parts.keeper.keep(loaded.champion, [wanted], [reading.score])
            return _answer(_explanation(loaded, reading), loaded)

        try:
            return await parts.batcher.alone(loaded, wanted, work)
        except QueueFullError as err:
            raise _busy() from err

    one, many = {"text": text}, {"text": text, "texts": texts}
    example = {"text": "A quiet film that stays with you."}
    _post(app, "/predict", predict, schemas.Predictions, schemas.request_body(many, example))
    _post(app, "/explain", explain, schemas.Explanation, schemas.request_body(one, example))


def _add_state(app: FastAPI, parts: Parts) -> None:
    async def model(_request: Request) -> Response:
        """The version that answers: its name, number, MLflow run and test accuracy."""
        loaded = parts.loaded
        who = loaded.champion
        facts = schemas.ModelFacts(name=who.name, version=who.number, run_id=who.run_id, accuracy=who.accuracy)
        return _answer(facts, loaded)

    async def healthz(_request: Request) -> Response:
        """Whether the process answers at all."""
        return _json(schemas.Health())

    async def readyz(_request: Request) -> Response:
        """Whether texts can be scored, and what is the matter if something is."""
        state = parts.watcher.state
        who = schemas.answering(state.loaded.champion) if state.loaded else None
        told = schemas.Readiness(ready=who is not None, model=who, problem=state.problem)
        return _json(told, 503 if who is None else 200)

    async def metrics(_request: Request) -> Response:
        """Figures for Prometheus."""
        return Response(parts.metrics.render(), headers={"Content-Type": parts.metrics.content_type})

    _get(app, "/model", model, schemas.ModelFacts, {503: {"model": schemas.Refused}})
    _get(app, "/healthz", healthz, schemas.Health, {})
    _get(app, "/readyz", readyz, schemas.Readiness, {503: {"model": schemas.Readiness}})
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}
    app.get("/metrics", tags=["State"], response_class=Response, responses=text)(metrics)


def _post(app: FastAPI, path: str, handler: Handler, answer: type[BaseModel], body: dict[str, Any]) -> None:
    refused: dict[int, type[BaseModel]] = dict.fromkeys((408, 413, 429, 503), schemas.Refused)
    models = {200: answer, 422: schemas.Invalid, **refused}
    responses: dict[int | str, dict[str, Any]] = {status: {"model": model} for status, model in models.items()}
    app.post(path, tags=["Answers"], response_model=None, responses=responses, openapi_extra=body)(handler)


def _get(
    app: FastAPI, path: str, handler: Handler, answer: type[BaseModel], others: dict[int | str, dict[str, Any]]
) -> None:
    app.get(path, tags=["State"], response_model=None, responses={200: {"model": answer}, **others})(handler)


async def _refuse(_request: Request, err: Exception) -> Response:
    if not isinstance(err, Refusal):
        raise err
    return err.response


def _busy() -> Refusal:
    return Refusal(429, "Too many texts wait already; come back in a second.", SOON)


def _predictions(loaded: Loaded, scores: list[float]) -> schemas.Predictions:
    predictions = [schemas.Prediction(label=label_of(score), score=score) for score in scores]
    return schemas.Predictions(predictions=predictions, model=schemas.answering(loaded.champion))


def _explanation(loaded: Loaded, reading: Reading) -> schemas.Explanation:
    return schemas.Explanation(
        label=label_of(reading.score),
        score=reading.score,
        start=reading.start,
        words=reading.words,
        model=schemas.answering(loaded.champion),
    )


def _answer(content: BaseModel, loaded: Loaded) -> Response:
    return _json(content, headers={"X-Model-Version": str(loaded.champion.number)})


def _json(content: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(content.model_dump_json(), status, headers, "application/json")
