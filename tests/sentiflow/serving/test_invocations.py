"""MLflow's protocol: which bodies are read, and what MLflow's own client makes of the answers."""

import json
import tracemalloc
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from fastapi import HTTPException
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from sentiflow.scoring import TextScorer
from sentiflow.serving.schemas import PROTOCOL, texts_of
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import TEXTS, Running

JSON, CSV = "application/json", "text/csv"


def read(body: bytes, kind: str = JSON) -> list[str]:
    return texts_of(kind, 10, 3, body)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["id", "text"], "index": [7, 8], "data": [[1, "a"], [2, ""]]}},
        {"dataframe_records": [{"text": "a", "id": 1}, {"id": 2, "text": ""}]},
        {"instances": [{"text": "a"}, {"text": ""}]},
        {"instances": ["a", ""]},
        {"inputs": ["a", ""], "params": {}},
        {"inputs": {"text": ["a", ""], "id": [1, 2]}},
    ],
)
def test_each_form_of_json_is_read(body: dict[str, Any]) -> None:
    assert read(json.dumps(body).encode(), "Application/JSON; charset=UTF-8") == ["a", ""]
    assert read(json.dumps(body).encode(), "") == ["a", ""]


def test_csv_of_a_wide_header_and_short_rows_takes_no_more_memory_than_its_bytes_are_worth() -> None:
    """Rows filled up to the header's length took gigabytes."""
    body = b"text," + b",".join(b"%d" % k for k in range(100_000)) + b"\n" + b"good\n" * 50
    tracemalloc.start()
    assert texts_of(CSV, 10, 50, body) == ["good"] * 50
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(body)


def test_csv_is_read_with_quotes_line_ends_and_a_byte_order_mark() -> None:
    assert read(b'\xef\xbb\xbfid,text\r\n1,"a, ""b""\nc"\r\n\r\n2,007\r\n', CSV) == ['a, "b"\nc', "007"]
    assert read(b"text,id\na,1\n", CSV) == ["a"]
    assert read(b"text\n", CSV) == []


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        (b"[1]", JSON, 400, "exactly one of"),
        (b'{"inputs": ["a"], "instances": ["a"]}', JSON, 400, "exactly one of"),
        (b'{"inputs": "a"}', JSON, 400, "column text of inputs"),
        (b'{"inputs": ["a", null]}', JSON, 400, "Text 2 is missing"),
        (b'{"dataframe_records": ["a"]}', JSON, 400, "column text of dataframe_records"),
        (b'{"dataframe_split": {"columns": ["text", "id"], "data": [["a"]]}}', JSON, 400, "column text of"),
        (b'{"dataframe_split": {"columns": ["text", "text"], "data": [["a", "b"]]}}', JSON, 400, "column text of"),
        (b'{"dataframe_split": {"columns": ["text"], "data": [["a"]], "more": 1}}', JSON, 400, "column text of"),
        (b'{"inputs": ["a", "b", "c", "d"]}', JSON, 400, "at most 3 texts"),
        (b'{"inputs": ["elevenchars"]}', JSON, 400, "Text 1 has more than 10 characters"),
        (b'{"inputs": [' + b"[" * 1_000, JSON, 400, "JSON: recursion limit"),
        (b'{"inputs": ["\xff"]}', JSON, 400, "Expected JSON"),
        (b"", CSV, 400, "a header"),
        (b"review\na\n", CSV, 400, "a column text"),
        (b"text,text\na,b\n", CSV, 400, "a column text"),
        (b"text\na,b\n", CSV, 400, "no more fields"),
        (b"id,text\n1\n", CSV, 400, "Text 1 is missing"),
        (b'text\n"a\n', CSV, 400, "Expected CSV"),
        (b"text\n\xff\n", CSV, 400, "Expected CSV in UTF-8"),
        (b"text\n" + b"a\n" * 4, CSV, 400, "at most 3 texts"),
        (b"{}", "text/plain", 415, "application/json or text/csv"),
        (b"{}", "application/json; charset=latin-1", 415, "UTF-8"),
    ],
)
def test_what_is_none_of_them_is_refused_in_a_line(body: bytes, kind: str, status: int, says: str) -> None:
    with pytest.raises(HTTPException) as refused:
        read(body, kind)
    assert refused.value.status_code == status
    assert says in refused.value.detail
    assert "\n" not in refused.value.detail


def test_mlflows_own_client_asks_the_service(served: Running, scorer: TextScorer) -> None:
    client = ScoringServerClient(*served.host_and_port)
    client.wait_server_ready()
    assert client.get_version() == PROTOCOL
    assert PROTOCOL.split(".")[:2] == mlflow.__version__.split(".")[:2]
    scores = scorer.score(TEXTS)
    for data in (pd.DataFrame({"text": TEXTS}), np.array(TEXTS), TEXTS):
        answer = client.invoke(data).get_predictions()  # a DataFrame
        assert list(answer.columns) == ["label", "score"]
        assert answer["score"].tolist() == pytest.approx(scores.tolist(), abs=1e-12)


def test_an_answer_is_of_the_champion_and_its_texts_are_counted(http: httpx.Client) -> None:
    before = service.figure(http, "sentiflow_texts_scored_total")
    answer = http.post("/invocations", content=b"text\ngood\nbad\n", headers={"Content-Type": CSV})
    assert (answer.status_code, answer.headers["x-model-version"]) == (200, "1")
    assert [sorted(one) for one in answer.json()["predictions"]] == [["label", "score"]] * 2
    assert service.figure(http, "sentiflow_texts_scored_total") == before + 2
    empty = http.post("/invocations", json={"inputs": []})
    assert (empty.status_code, empty.json()) == (200, {"predictions": []})
    assert http.post("/invocations", json={"inputs": [1]}).status_code == 400
    assert (http.get("/ping").status_code, http.get("/health").text) == (200, "\n")
