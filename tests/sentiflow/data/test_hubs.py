"""Datasets of Hugging Face and Kaggle, by their real clients, from a hub and a cache on this machine."""

import json
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data.hubs import bring
from sentiflow.data.prepare import fetch, prepare
from sentiflow.errors import UsageError
from sentiflow.names import dataset_name, located, model_name
from sentiflow.settings import Settings
from tests import servers
from tests.world import World


def parquet(word: str) -> bytes:
    stream = BytesIO()
    rows = {"text": [f"a {word} film, scene {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    pq.write_table(pa.table(rows), stream)
    return stream.getvalue()


class Hub(BaseHTTPRequestHandler):
    """What Hugging Face's client asks for of one dataset; files without content are not found."""

    commit = "a" * 40
    files: dict[str, bytes] = {}  # noqa: RUF012 - the test's, which changes them

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/datasets/somebody/reviews"):
            listed = "/tree/" in path
            tree = [
                {"type": "file", "path": name, "size": len(file), "oid": ""} for name, file in self.files.items()
            ]
            about = {
                "id": "somebody/reviews",
                "sha": self.commit,
                "siblings": [{"rfilename": n} for n in self.files],
            }
            return self.answer(json.dumps(tree if listed else about).encode())
        return self.answer(self.files.get(path.partition(f"/resolve/{self.commit}/")[2], b""))

    do_HEAD = do_GET

    def answer(self, content: bytes) -> None:
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.story
def test_the_newest_commit_of_a_dataset_is_read_whole_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Hub, "files", {"README.md": b"Reviews", "data/train.parquet": parquet("good"), "notes.md": b""}
    )
    with servers.http(Hub) as port:
        options = "data", "--dataset", "hf://somebody/reviews/data"
        address = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        cut = world.run(*options, **address)
        assert cut.returncode == 3 and "Cannot download hf://somebody/reviews" in cut.stderr, cut.stderr
        Hub.files["notes.md"] = b"there again"
        first = world.run(*options, **address)
        assert first.returncode == 0 and "Dataset somebody-reviews-data" in first.stdout, first.stderr
        assert "scene" in first.stdout
        Hub.files["data/train.parquet"] = parquet("bad")
        assert world.run(*options, **address).stdout == first.stdout  # a commit does not change
        monkeypatch.setattr(Hub, "commit", "b" * 40)
        assert world.run(*options, **address).stdout != first.stdout
    away = world.run(*options, **address)
    assert away.returncode == 3 and "Cannot download" in away.stderr


def test_a_version_of_kaggle_that_its_client_has_is_read_without_a_network(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    title = tmp_path / "datasets" / "somebody" / "reviews"
    (title / "versions" / "3" / "csv").mkdir(parents=True)
    (title / "3.complete").touch()
    rows = [f"scene {i},{i % 2}" for i in range(60)]
    (title / "versions" / "3" / "csv" / "mine.csv").write_text("\n".join(["text,label", *rows]))
    prepared = prepare(fetch("kagglehub://somebody/reviews/versions/3/csv", settings), settings)
    assert prepared.origin == str(title / "versions" / "3" / "csv")
    with pytest.raises(UsageError, match="No dataset or table"):
        fetch("kagglehub://somebody/reviews/versions/3/json", settings)


def test_a_hub_s_dataset_is_named_with_its_owner_and_is_no_path(settings: Settings) -> None:
    assert (
        dataset_name("hf://stanfordnlp/imdb")
        == dataset_name("hf://datasets/stanfordnlp/imdb")
        == "stanfordnlp-imdb"
    )
    assert model_name("kagglehub://a/Film Reviews") == "a-film-reviews-sentiment"
    assert located("hf://stanfordnlp/imdb") == "hf://stanfordnlp/imdb"
    with pytest.raises(UsageError, match="no dataset"):
        bring("hf://imdb", settings)
