"""Fetch the public tables of benchmarks/corpora.toml, to measure on texts that are not IMDB's.

Each becomes ``NAME.csv`` with the columns text and label (1 is positive). Neutral rows, empty texts and repeated
texts are left out, and white space becomes one space.

``python -m benchmarks.corpora FOLDER`` fetches them from GitHub, ``--from RAW`` copies the same files from
``RAW/NAME/``, and ``--imdb`` writes parts of IMDB's test split instead.
"""

import argparse
import csv
import hashlib
import io
import random
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks import machine
from sentiflow.data import prepare, reviews
from sentiflow.data.imdb import fetch_file
from sentiflow.settings import Settings, load_settings

IMDB_PARTS = (500, 1_000, 2_500, 5_000, 10_000)
QUOTING = {True: csv.QUOTE_MINIMAL, False: csv.QUOTE_NONE}

Corpus = dict[str, Any]
Rows = Iterable[tuple[str, str]]  # texts and their labels, as the repository writes them


def columns(files: list[str], corpus: Corpus) -> Rows:
    """Tables with a header, or with the one that the corpus gives; the columns of texts are joined."""
    form = {"delimiter": corpus.get("delimiter", ","), "quoting": QUOTING[corpus.get("quotes", True)]}
    for content in files:
        for row in csv.DictReader(io.StringIO(content, newline=""), corpus.get("header"), **form):
            yield " ".join(row[name] or "" for name in corpus["texts"]), row[corpus["label"]]


def a_class_each(files: list[str], _corpus: Corpus) -> Rows:
    """Texts in lines: a file of class 0, one of class 1."""
    for label, content in enumerate(files):
        yield from ((line, str(label)) for line in content.split("\n"))


def beside(files: list[str], _corpus: Corpus) -> Rows:
    """Pairs of files: texts in lines, and their labels in the same lines of the second."""
    for texts, labels in zip(files[::2], files[1::2], strict=True):
        yield from zip(texts.strip("\n").split("\n"), labels.split(), strict=True)


READERS = {"columns": columns, "a class each": a_class_each, "labels beside": beside}


def main() -> None:
    corpora = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the tables are written")
    parser.add_argument("--from", dest="raw", type=Path, help="a folder with the repositories' files")
    parser.add_argument("--only", choices=corpora, help="one table alone")
    parser.add_argument("--imdb", action="store_true", help="write parts of IMDB instead")
    chosen = parser.parse_args()
    settings = load_settings()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    names = [chosen.only] if chosen.only else corpora
    public = ((name, fetched(name, corpora[name], chosen.raw, settings)) for name in names)
    for name, content in imdb_parts(settings) if chosen.imdb else public:
        (chosen.folder / f"{name}.csv").write_bytes(content)
        machine.log(f"{name}: SHA-256 {hashlib.sha256(content).hexdigest()}")


def fetched(name: str, corpus: Corpus, raw: Path | None, settings: Settings) -> bytes:
    """The table of a corpus, checked by its hash."""
    source = (
        raw.resolve() / name
        if raw
        else f"https://raw.githubusercontent.com/{corpus['repository']}/{corpus['commit']}"
    )
    limits = {"timeout": settings.download_timeout, "retries": settings.download_retries}
    files = []
    for path, sha256 in corpus["files"].items():
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "file"
            fetch_file(f"{source}/{path if raw else quote(path)}", sha256, target, **limits)
            files.append(target.read_bytes().decode(corpus.get("encoding", "utf-8")))
    content = table(labelled(files, corpus))
    if (found := hashlib.sha256(content).hexdigest()) != corpus["sha256"]:
        raise SystemExit(f"{name}: the table's SHA-256 is {found}, not {corpus['sha256']}")
    return content


def labelled(files: list[str], corpus: Corpus) -> Iterator[tuple[str, int]]:
    """Texts and 0 or 1, without the rows that are neither negative nor positive."""
    classes = {**dict.fromkeys(corpus["negative"], 0), **dict.fromkeys(corpus["positive"], 1)}
    for text, label in READERS[corpus["form"]](files, corpus):
        if label in classes:
            yield text, classes[label]


def table(rows: Iterable[tuple[str, int]]) -> bytes:
    """The rows as a CSV file; of a text that is there more than once, the first counts."""
    kept: dict[str, int] = {}
    for text, label in rows:
        if words := " ".join(text.split()):
            kept.setdefault(words, label)
    content = io.StringIO(newline="")
    csv.writer(content, lineterminator="\n").writerows([("text", "label"), *kept.items()])
    return content.getvalue().encode()


def imdb_parts(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Reviews of IMDB's test split, half of each label, each part within the next.

    Models of IMDB's training split have not seen them: reviews that stand in both splits are left out.
    """
    prepared = prepare.prepare(prepare.fetch("imdb", settings), settings).table
    words, content = reviews.read_vocabulary(prepared), reviews.read(prepared)
    seen = {words.decode(ids, unknown="") for ids in content.of("train").tokens}
    test = content.of("test")
    texts = {words.decode(ids, unknown=""): int(label) for ids, label in zip(test.tokens, test.label, strict=True)}
    drawn = [(text, label) for text, label in texts.items() if text not in seen]
    random.Random(0).shuffle(drawn)
    classes = [[row for row in drawn if row[1] == label] for label in (0, 1)]
    for size in IMDB_PARTS:
        chosen = {text for rows in classes for text, _ in rows[: size // 2]}
        yield f"imdb-{size}", table(row for row in drawn if row[0] in chosen)


if __name__ == "__main__":
    main()
