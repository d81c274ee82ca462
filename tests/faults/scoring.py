"""Requests and tables that are no reviews."""

import json
import random
from pathlib import Path

import httpx
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.sample import BLAME, PRAISE
from sentiflow.batch.job import Request, score_input
from sentiflow.errors import SentiflowError
from tests.faults.campaign import Case, Red
from tests.faults.worlds import SAMPLE, Worlds, put_in_use
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import exchange
from tests.sentiflow.serving.test_malformed import EMOJI, ask_damaged
from tests.world import Registry, World

REVIEWS = 30
HEADS = [
    verb + b" /predict HTTP/1." + minor + line
    for verb in (b"GET", b"POST", b"post", b"P\x00ST")
    for minor in (b"0\r\n", b"1\r\n", b"7\r\n")
    for line in (b"Host: x\r\n", b"Host\r\n", b"Content-Length: -1\r\n", b"Content-Length: 9e9\r\n", b"")
]
MALFORMED, TABLES, MAX_GROWTH = 2_000, 100, 50e6


def reviews(random_: random.Random) -> list[str]:
    """Texts of 1 to 300 words; some words unknown, some marks, some letters of other languages."""
    words = [*PRAISE, *BLAME, "the", "film", "was", "not", "and", "zyzzyva", "naïve", "映画", EMOJI, "x" * 500]
    marks = [" ", " ", " ", ", ", ". ", " <br /> ", "\n", "! "]
    return [
        "".join(random_.choice(words) + random_.choice(marks) for _ in range(random_.randrange(1, 300)))
        for _ in range(REVIEWS)
    ]


def malformed(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Damaged requests and bytes that are no HTTP to a service; damaged tables to the scoring of tables."""
    world, random_ = worlds.copy(folder / "world"), random.Random(seed)
    put_in_use(world, Registry.GOOD)
    with service.running(world, *SAMPLE) as running, running.client() as http:
        asked = psutil.Process(running.process.pid)
        answered = _send(http, random_, MALFORMED // 10)  # what is loaded and cached at first is no growth
        before = asked.memory_info().rss
        answered += _send(http, random_, MALFORMED)
        for _ in range(MALFORMED // 10):
            sent = bytearray(random_.choice(HEADS) + b"\r\n" + random_.randbytes(random_.randrange(100)))
            sent[random_.randrange(len(sent))] = random_.randrange(256)
            sent += b"\r\n\r\n"
            assert b" 500 " not in exchange(running, bytes(sent))[:20], bytes(sent)
            assert b" 200 " in exchange(running, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")[:20]
        grown = asked.memory_info().rss - before
        assert grown < MAX_GROWTH, f"the service has grown by {grown / 1e6:.0f} MB"
        assert http.post("/predict", json={"text": "still there"}).status_code == 200
    assert not [line for line in running.lines if "Traceback" in line], running.lines
    return {
        "requests": MALFORMED + MALFORMED // 10, "of them answered": answered, "raw": MALFORMED // 10,
        **_score_damaged(world, folder, random.Random(f"{seed} tables")),
    }  # fmt: skip


def _send(http: httpx.Client, random_: random.Random, number: int) -> int:
    """Send damaged bodies; gives how many were good enough to be answered."""
    return sum(ask_damaged(http, random_) for _ in range(number))


def _score_damaged(world: World, folder: Path, random_: random.Random) -> dict[str, int]:
    """Score tables with damaged bytes: an error that says so, or every row scored or rejected."""
    texts = reviews(random_)
    pq.write_table(pa.table({"text": texts}), folder / "good.parquet")
    tables = {
        "csv": pd.DataFrame({"text": texts}).to_csv(index=False).encode(),
        "jsonl": "\n".join(json.dumps({"text": text}) for text in texts).encode(),
        "parquet": (folder / "good.parquet").read_bytes(),
    }
    came = {"tables": 0, "of them refused": 0}
    for _ in range(TABLES):
        kind = random_.choice(list(tables))
        content, path = bytearray(tables[kind]), folder / f"bad.{kind}"
        for _ in range(random_.randrange(1, 20)):
            content[random_.randrange(len(content))] = random_.choice([random_.randrange(256), 34, 0, 10])
        path.write_bytes(content[: random_.choice([len(content), random_.randrange(len(content))])])
        came["tables"] += 1
        try:
            done = score_input(Request(path, folder / "out.parquet", workers=1), world.settings)
            rejected = sum(done.totals.reasons.values())
            assert pq.read_table(folder / "out.parquet").num_rows == done.totals.scored
            assert done.totals.scored + rejected == done.totals.rows
        except SentiflowError:
            came["of them refused"] += 1
    path.write_bytes(tables[kind])
    assert score_input(Request(path, folder / "out.parquet", workers=1), world.settings).totals.scored == REVIEWS
    return came


F7 = Case(
    "F7",
    "Malformed requests and tables are refused or read; nothing crashes, hangs or grows.",
    f"A try sends {MALFORMED + MALFORMED // 10:,} damaged bodies, sends {MALFORMED // 10} damaged heads over raw "
    f"sockets, and scores {TABLES} damaged CSV, JSON Lines and Parquet tables. The service may grow by 50 MB.",
    malformed,
    short=1,
    long=5,
    reds=(
        Red(
            "a damaged Parquet file is no error of its own", "sentiflow/data/parquet.py",
            "except (pa.ArrowException, OSError, UnicodeDecodeError) as err:",
            "except pa.ArrowException as err:", "OSError", seed=10,
        ),
        Red(
            "a body that does not fit is no error of its own", "sentiflow/serving/schemas.py",
            "        except ValidationError as err:\n            raise _invalid(*err.errors",
            "        except LookupError as err:\n            raise _invalid(*err.errors", ", 500, ",
        ),
        Red(
            "each request leaves 100 kB", "sentiflow/serving/middleware.py",
            "        began, status = time.perf_counter(), GONE\n",
            "        began, status = time.perf_counter(), GONE\n"
            '        self.__dict__.setdefault("kept", []).append(bytearray(b"x" * 100_000))\n', "has grown by",
        ),
    ),
)  # fmt: skip
