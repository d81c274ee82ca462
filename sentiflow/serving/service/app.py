"""The HTTP application: its paths, and the pages about it."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sentiflow.errors import WorldError
from sentiflow.scoring import Reading, label_of
from sentiflow.serving.service import schemas
from sentiflow.serving.service.batching import Batcher, QueueFullError
from sentiflow.serving.service.champion import Watcher
from sentiflow.serving.service.metrics import Metrics
from sentiflow.serving.service.middleware import Edge, Origins, Uploads
from sentiflow.serving.service.schemas import SOON, Limits, Loaded, Parser, Refusal
from sentiflow.serving.service.text_log import Keeper

_HERE = Path(__file__).parent
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
# Swagger UI, as a package that ships its files; FastAPI's own page loads them from elsewhere.
_SWAGGER = "fastapi_offline"
_SWAGGER_FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


def add_to(app: FastAPI) -> None:
    """Add the pages and the files of the second one."""
    _add_page(app, "/", "page.html")
    _add_page(app, "/docs", "docs.html")
    for name, kind in _SWAGGER_FILES.items():
        _add_file(app, f"/docs/{name}", swagger_folder() / name, kind)


def _add_page(app: FastAPI, path: str, file: str) -> None:
    content = (_HERE / file).read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": policy(content)}

    async def page() -> Response:
        return Response(content, headers=headers, media_type="text/html")

    app.get(path, include_in_schema=False, response_class=Response)(page)


def _add_file(app: FastAPI, path: str, file: Path, kind: str) -> None:
    content = file.read_bytes()  # sent whole, so that the time to read an answer has one meaning

    async def answer() -> Response:
        return Response(content, media_type=kind)

    app.get(path, include_in_schema=False, response_class=Response)(answer)


def policy(page: str) -> str:
    """What a page may load: its own inline parts, by their hashes, and files of this service."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, content in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    scripts, styles = (" ".join(["'self'", *hashes[kind]]) for kind in ("script", "style"))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def swagger_folder() -> Path:
    """The folder with Swagger UI's files; the package itself is not imported.

    Raises:
        WorldError: the package is missing.
    """
    spec = find_spec(_SWAGGER)
    if spec is None or spec.origin is None:
        raise WorldError("The package fastapi-offline is missing.", "Install what requirements.lock names.")
    return Path(spec.origin).parent / "static"


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
    add_to(app)
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
