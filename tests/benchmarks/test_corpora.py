"""The public tables are made of other people's files."""

import hashlib
from pathlib import Path

from benchmarks import corpora
from sentiflow.settings import Settings

RAW = """id,title,review,stars
1,Good,"It lasts,
and lasts.",5
2,So-so,It works.,3
3,Good,"It lasts,   and lasts.",5
4,,,1
5,Bad,It broke.,1
6,Bad,It broke.,4
"""
TABLE = b'text,label\n"Good It lasts, and lasts.",1\nBad It broke.,0\n'


def test_columns_become_a_table_of_two_classes_without_neutral_empty_and_repeated_texts(tmp_path: Path) -> None:
    raw = RAW.encode()
    (tmp_path / "lamps").mkdir()
    (tmp_path / "lamps" / "raw.csv").write_bytes(raw)
    corpus = {
        "files": {"raw.csv": hashlib.sha256(raw).hexdigest()},
        "form": "columns",
        "texts": ["title", "review"],
        "label": "stars",
        "negative": ["1", "2"],
        "positive": ["4", "5"],
        "sha256": hashlib.sha256(TABLE).hexdigest(),
    }
    assert corpora.fetched("lamps", corpus, tmp_path, Settings()) == TABLE
