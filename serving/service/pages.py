"""The pages for people: one to type a review into, one of the paths. Neither loads anything from elsewhere."""

import base64
import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response

from sentiment.errors import WorldError

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
