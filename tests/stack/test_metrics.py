"""The shipped configuration of Prometheus, against a real service; every query of the dashboard has an answer."""

import json
import re
import shutil
import subprocess
from math import isnan
from pathlib import Path
from typing import Any

import httpx
import pytest

from sentiflow.monitoring.log import TextLog
from tests.polling import until
from tests.sentiflow.serving import service
from tests.servers import answers, free_port
from tests.world import ROOT, Trained

METRICS = ROOT / "stack" / "metrics"
DASHBOARD: dict[str, Any] = json.loads((METRICS / "dashboards" / "service.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.story
def test_every_query_of_the_dashboard_has_an_answer(trained: Trained, tmp_path: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("needs Debian's package prometheus; CI installs it")
    assert len(QUERIES) > 5
    world, client = service.copied(trained, tmp_path / "world")
    service.promote(client, 1)
    texts = tmp_path / "texts"
    with service.running(world, SENTIFLOW_PREDICTION_LOG_DIR=str(texts)) as running, running.client() as http:
        http.post("/predict", json={"texts": service.TEXTS})
        until(lambda: service.figure(http, "sentiflow_texts_kept_total") == len(service.TEXTS))
        TextLog(texts, 10**7).mark(service.MODEL, id=3, psi={"oov": 0.3, "length": 0.01, "score": 0.1})
        config = (METRICS / "prometheus.yml").read_text().replace("15s", "200ms")
        config = config.replace('"api:8000"', f'"{running.address.removeprefix("http://")}"')
        (tmp_path / "prometheus.yml").write_text(config)
        port = free_port()
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}",
                 "--storage.tsdb.path=data"],
                cwd=tmp_path, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            until(
                lambda: answers(f"http://127.0.0.1:{port}/-/ready"),
                told=(tmp_path / "log").read_text,
                process=process,
            )
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as prometheus:
                for query in QUERIES:
                    until(lambda query=query: _is_answered(prometheus, http, query), query, 60)
                drift = prometheus.get("/api/v1/query", params={"query": "sentiflow_drift_psi"}).json()
                found = {each["metric"]["feature"]: float(each["value"][1]) for each in drift["data"]["result"]}
                assert found == {"oov": 0.3, "length": 0.01, "score": 0.1}
        finally:
            process.kill()
            process.wait()


def _figures(prometheus: httpx.Client, query: str) -> list[float]:
    plain = re.sub(r"\$__rate_interval", "5s", query)
    answer = prometheus.get("/api/v1/query", params={"query": plain}).json()
    assert answer["status"] == "success", (query, answer)
    return [float(each["value"][1]) for each in answer["data"]["result"]]


def _is_answered(prometheus: httpx.Client, http: httpx.Client, query: str) -> bool:
    http.post("/predict", json={"texts": service.TEXTS})
    figures = _figures(prometheus, query)
    return bool(figures) and not any(map(isnan, figures))  # NaN: nothing came in that time
