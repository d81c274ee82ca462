import json
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.polling import until
from tests.sentiflow.serving import service
from tests.world import Trained, World, command, telling_modules

SLOW = {"mlflow", "prefect", "tensorflow", "keras", "pandas", "sklearn", "scipy", "matplotlib"}


@pytest.fixture
def promoted(trained: Trained, tmp_path: Path) -> World:
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    return world


def test_it_stays_below_400_mb_whatever_it_is_asked(promoted: World) -> None:
    with service.running(promoted) as running, running.client() as http:
        assert http.get("/readyz").status_code == 200
        for _ in range(5):
            assert http.post("/predict", json={"texts": ["good film " * 700] * 256}).status_code == 200
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        (most,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(most) < 400_000


def test_nothing_slow_is_loaded_however_it_is_used(promoted: World) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", telling_modules("serve", "--port", "0")],
        env=promoted.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        address = next(
            re.findall(r"http://[\d.:]+", line)[0] for line in process.stderr or [] if "answers at" in line
        )
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as http:
            assert http.post("/predict", json={"text": "good"}).status_code == 200
            assert http.post("/explain", json={"text": "good"}).status_code == 200
            assert http.get("/docs/swagger-ui.css").status_code == 200
        process.terminate()
        loaded = set(json.loads(process.communicate(timeout=30)[0].splitlines()[-1]))
    finally:
        process.kill()
    assert {"fastapi", "uvicorn", "numpy"} <= loaded
    assert not loaded & SLOW


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_answers_what_is_under_way_and_ends_quietly_with_0(
    promoted: World, number: signal.Signals
) -> None:
    texts = ["good film " * 900] * 200

    def ask(http: httpx.Client) -> int:
        return http.post("/predict", json={"texts": texts}).status_code

    with service.running(promoted) as running, ThreadPoolExecutor(4) as threads, running.client() as asking:
        asked = [threads.submit(ask, asking) for _ in range(4)]
        with running.client() as http:
            # a request that has not arrived by then is refused: all four are scored by now, or wait for it
            until(
                lambda: (
                    service.figure(http, "sentiflow_texts_scored_total")
                    + service.figure(http, "sentiflow_queue_texts")
                    >= 4 * len(texts)
                )
            )
        running.process.send_signal(number)
        assert [each.result() for each in asked] == [200] * 4
        assert running.process.wait(20) == 0
    assert not [line for line in running.lines if "answers" not in line]


def test_a_taken_port_ends_with_3_in_two_lines(promoted: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = promoted.run("serve", "--port", str(port))
    assert done.returncode == 3
    first, second = done.stderr.splitlines()
    assert first.startswith(f"Error: Cannot listen on port {port} of 127.0.0.1: Address already in use")
    assert "--port 0" in second


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 70])
def test_an_address_of_another_machine_ends_with_3(promoted: World, host: str) -> None:
    done = promoted.run("serve", "--host", host, "--port", "0")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert host in done.stderr


def test_port_and_host_come_from_the_settings_when_no_option_names_them(promoted: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    environment = promoted.environment(SENTIFLOW_SERVE_HOST="::1", SENTIFLOW_SERVE_PORT=port)
    process = subprocess.Popen(
        [command(), "serve"],
        env=environment, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert any(f"http://[::1]:{port}" in line for line in process.stderr)
        assert httpx.get(f"http://[::1]:{port}/healthz", trust_env=False, timeout=60).status_code == 200
    finally:
        process.terminate()
        process.wait(20)
