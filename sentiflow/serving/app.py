"""The HTTP application: its paths, the pages about it, limits of bodies."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException as RouterError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sentiflow.environment import install
from sentiflow.names import BASE, BUILT_IN, dataset_of
from sentiflow.serving import schemas
from sentiflow.serving.batching import Batcher, Keeper
from sentiflow.serving.champion import Loaded, Watcher
from sentiflow.serving.metrics import Metrics
from sentiflow.serving.middleware import CLOSE, GONE
from sentiflow.serving.schemas import PROTOCOL, BodyParser, ModelVersion, texts_of
from sentiflow.store.records import BASE_MODEL

_PAGE = Path(__file__).with_name("page.html")
_INLINE = re.compile(r"<(?:script|style)>(.*?)</(?:script|style)>", re.DOTALL)
# Of fastapi_offline, which ships them; FastAPI's own page loads them from another site.
_SWAGGER_FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
_BODY_SECONDS = 30.0  # for all of a body
# What the page tries a model with; not kept for monitoring, nor counted.
_OF_FILMS = (
    "It began well, but the ending was a mess.",
    "A quiet film that stays with you.",
    "Two hours that I will never get back.",
)
_OF_TABLES = ("It began well, but in the end I was disappointed.", "Better than I had hoped.", "Never again.")


def build(
    watcher: Watcher,
    batcher: Batcher,
    keeper: Keeper,
    metrics: Metrics,
    parser: BodyParser,
    max_body: int,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    ui: str = "",
) -> FastAPI:
    """The paths of the service; ``max_body`` is in bytes, ``ui`` the address of MLflow's pages, if it is set."""
    app = FastAPI(
        title="Sentiflow",
        version=metadata.version("sentiflow"),
        description="Sentiment of texts, by the registered model in use.",
        servers=[{"url": "."}],  # below the path of a proxy, too
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.max_body = max_body
    _add_refusals(app)
    _add_predictions(app, watcher, batcher, keeper, metrics, parser)
    _add_health(app, watcher, metrics.registry, ui)
    _add_pages(app)
    return app


def public_paths(app: FastAPI) -> list[str]:
    """The paths of the pages, which show nothing of the model or of texts."""
    return [route.path for route in app.routes if isinstance(route, Route) and not route.include_in_schema]


def describe_token(app: FastAPI, open_paths: Collection[str]) -> None:
    """Say in the schema that all but the open paths ask for a bearer token."""
    schema = app.openapi()
    schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in open_paths else [{"token": []}]


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(RouterError)
    async def refuse(_request: Request, err: RouterError) -> Response:
        """Answer to an HTTPException of ours, an unknown path, or a method that a path does not take."""
        detail = "Not found; see /docs." if err.status_code == 404 else err.detail
        return JSONResponse({"detail": detail}, err.status_code, err.headers)

    @app.exception_handler(ClientDisconnect)
    async def count_as_gone(_request: Request, _err: ClientDisconnect) -> Response:
        return Response(status_code=GONE)  # the client has gone

    @app.exception_handler(Exception)
    async def fail(_request: Request, _err: Exception) -> Response:
        return JSONResponse({"detail": "The service failed; see its log."}, 500)


async def _body(request: Request) -> bytes:
    """Read a body as far as its size and its time are within the limits."""
    limit, body = request.app.state.max_body, bytearray()
    too_large = HTTPException(413, f"The body is larger than {limit} bytes.", CLOSE)
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise too_large
            return bytes(body)
    except TimeoutError as err:
        raise HTTPException(408, f"The body took longer than {_BODY_SECONDS:g} s.", CLOSE) from err


def _add_predictions(
    app: FastAPI, watcher: Watcher, batcher: Batcher, keeper: Keeper, metrics: Metrics, parser: BodyParser
) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": schemas.Error} for status in (408, 413, 429, 503)
    }
    refused = {422: {"model": schemas.ValidationErrors}, **refusals}

    def labels_of(
        loaded: Loaded, texts: list[str], scores: list[float], *, with_neutral: bool = False
    ) -> list[str]:
        """The labels of scored texts, which are counted and kept."""
        labels = [loaded.scorer.label_of(score, with_neutral=with_neutral) for score in scores]
        metrics.count_labels(labels)
        keeper.keep(loaded.champion.version, texts, scores)
        return labels

    async def predictions_of(
        loaded: Loaded, texts: list[str], *, with_neutral: bool = False
    ) -> list[schemas.Answer]:
        scores = await batcher.score(loaded, texts) if texts else []
        labels = labels_of(loaded, texts, scores, with_neutral=with_neutral)
        return [
            schemas.Answer(label=label, score=score, known=loaded.scorer.vocabulary.knows(text))
            for text, label, score in zip(texts, labels, scores, strict=True)
        ]

    @app.post(
        "/predict",
        summary="Classify texts",
        tags=["Prediction"],
        response_model=schemas.Predictions,
        responses={409: {"model": schemas.Error}, **refused},
        openapi_extra=schemas.request_body(parser.predict),
    )
    async def predict(request: Request, with_neutral: bool = False) -> Response:
        """The label and score of one text, or of many; unsure ones are neutral if that is asked for."""
        body, loaded = await _body(request), watcher.loaded
        texts = await parser.texts(parser.predict, body)
        if with_neutral and loaded.scorer.neutral is None:
            raise HTTPException(
                409, "The version in use cannot answer neutral: no neutral texts set limits of it."
            )
        predictions = await predictions_of(loaded, texts, with_neutral=with_neutral)
        return _answer(schemas.Predictions(predictions=predictions, model=_model(loaded)), loaded)

    @app.post(
        "/invocations",
        summary="Classify texts, as MLflow's clients ask",
        tags=["Prediction"],
        response_model=schemas.Invocations,
        responses={400: {"model": schemas.Error}, 415: {"model": schemas.Error}, **refusals},
        openapi_extra=schemas.INVOCATIONS_BODY,
    )
    async def invoke(request: Request) -> Response:
        """What `mlflow models serve` answers, to JSON or CSV with texts in the column `text`, or to a list."""
        body, loaded = await _body(request), watcher.loaded
        kind = request.headers.get("content-type", "")
        texts = await parser.read(partial(texts_of, kind, parser.max_characters, parser.max_texts), body)
        return _answer(schemas.Invocations(predictions=await predictions_of(loaded, texts)), loaded)

    @app.post(
        "/explain",
        summary="Explain a prediction word by word",
        tags=["Prediction"],
        response_model=schemas.Explanation,
        responses=refused,
        openapi_extra=schemas.request_body(parser.explain),
    )
    async def explain(request: Request) -> Response:
        """The score after each word of a text, and what the word added to it."""
        body, loaded = await _body(request), watcher.loaded
        if not loaded.scorer.explains:
            raise HTTPException(409, "The version in use is a model of one's own: its scores are not explained.")
        (text,) = await parser.texts(parser.explain, body)

        def work() -> Response:  # a long text makes a long answer, so it is written in the thread, too
            reading = loaded.scorer.explain(text)
            score = reading.score
            if text in (*_OF_FILMS, *_OF_TABLES):
                label = loaded.scorer.label_of(score)
            else:
                (label,) = labels_of(loaded, [text], [score])
            explanation = schemas.Explanation(
                label=label, score=score, start=reading.start, words=reading.words, model=_model(loaded)
            )
            return _answer(explanation, loaded)

        return await batcher.alone(loaded, text, work)


def _model(loaded: Loaded) -> ModelVersion:
    version = loaded.champion.version
    return ModelVersion(name=version.name, version=version.number or None)


def _headers(loaded: Loaded) -> dict[str, str]:
    return {"X-Model-Version": str(loaded.champion.version.number or loaded.champion.version.name)}


def _answer(content: BaseModel, loaded: Loaded) -> Response:
    return Response(content.model_dump_json(), headers=_headers(loaded), media_type="application/json")


def _add_health(app: FastAPI, watcher: Watcher, registry: CollectorRegistry, ui: str) -> None:
    @app.get("/model", summary="The model in use", tags=["Model"], responses={503: {"model": schemas.Error}})
    async def model(response: Response) -> schemas.ModelInfo:
        """Name, version, MLflow run, test accuracy and labels of the model in use, and texts to try it with."""
        loaded = watcher.loaded
        champion, version = loaded.champion, loaded.champion.version
        response.headers.update(_headers(loaded))
        is_of_films = dataset_of(version.name) in (BASE, *BUILT_IN)
        return schemas.ModelInfo(
            name=version.name,
            version=version.number or None,
            note=version.why if version == BASE_MODEL else "",
            run_id=champion.run_id,
            accuracy=champion.accuracy,
            tested_on=champion.tested_on,
            label_names=loaded.scorer.label_names,
            text_name="review" if is_of_films else "text",
            examples=_OF_FILMS if is_of_films else _OF_TABLES,
            url=f"{ui}/#/models/{version.name}/versions/{version.number}" if ui and version.number else None,
        )

    @app.get("/healthz", summary="Liveness", tags=["Health"])
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/readyz", summary="Readiness", tags=["Health"], responses={503: {"model": schemas.Readiness}})
    async def readyz(response: Response) -> schemas.Readiness:
        """Whether texts can be scored, and if not, why."""
        state = watcher.state
        if state.loaded is None:
            response.status_code = 503
        return schemas.Readiness(
            ready=state.loaded is not None,
            model=_model(state.loaded) if state.loaded else None,
            problem=state.problem,
        )

    async def ping() -> Response:
        """As MLflow's scoring server: 200 while texts can be scored, else 503."""
        return Response("\n", 503 if watcher.state.loaded is None else 200, media_type="application/json")

    for path in ("/ping", "/health"):
        app.get(path, summary="Readiness, as MLflow's clients ask", tags=["Health"])(ping)

    @app.get("/version", summary="The MLflow that /invocations speaks as", tags=["Model"])
    async def version() -> Response:
        """MLflow's version."""
        return Response(PROTOCOL, media_type="application/json")

    @app.get(
        "/metrics",
        summary="Metrics for Prometheus",
        tags=["Health"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Counters and durations of requests, and the version in use."""
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_pages(app: FastAPI) -> None:
    page = _PAGE.read_bytes()
    _add_file(app, "/", page, "text/html", {"Content-Security-Policy": policy(page.decode())})
    if find_spec("fastapi_offline") is None:
        _add_file(app, "/docs", f"This page needs: {install('serve')}\n".encode(), "text/plain")
        return
    swagger = bytes(
        get_swagger_ui_html(
            openapi_url="openapi.json",
            title="Sentiflow: API docs",
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="data:,",
            swagger_ui_parameters={"validatorUrl": None},
        ).body
    )
    _add_file(app, "/docs", swagger, "text/html", {"Content-Security-Policy": policy(swagger.decode())})
    for name, kind in _SWAGGER_FILES.items():
        file = resources.files("fastapi_offline") / "static" / name
        _add_file(app, f"/docs/{name}", file.read_bytes(), kind)


def _add_file(
    app: FastAPI, path: str, content: bytes, kind: str, headers: Mapping[str, str] | None = None
) -> None:
    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return Response(content, headers=headers, media_type=kind)


def policy(page: str) -> str:
    """What a page may load: its own inline parts, by their hashes, and files of this service."""
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in _INLINE.findall(page)]
    own = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    return (
        f"default-src 'none'; script-src {own}; style-src {own}; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
