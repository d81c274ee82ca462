"""Several processes that answer on one port."""

import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from mlflow.tracking import MlflowClient

from tests.polling import until
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import MODEL, TEXTS, Running, figure
from tests.world import Trained, World

pytestmark = pytest.mark.story


def workers_of(running: Running) -> list[psutil.Process]:
    """Those that answer; another child of multiprocessing's keeps its books."""
    found = []
    for each in psutil.Process(running.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile; a zombie counts as that
            found += [each] if "spawn_main" in " ".join(each.cmdline()) else []
    return found


@dataclass(frozen=True)
class Service:
    """A service of two workers, on a registry with version 1 and its opposite, version 2."""

    world: World
    client: MlflowClient
    running: Running

    @property
    def workers(self) -> list[psutil.Process]:
        return workers_of(self.running)

    def once_replaced(self, killed: psutil.Process) -> list[psutil.Process]:
        """The two workers that there are once another has taken the killed one's place."""
        workers: list[psutil.Process] = []

        def replaced() -> bool:
            workers[:] = self.workers  # read once: a worker may end between two looks
            return len(workers) == 2 and killed not in workers

        until(replaced)
        return workers

    def versions(self) -> set[str]:
        """Who answers, on ten new connections."""
        return {self.ask().headers["x-model-version"] for _ in range(10)}

    def ask(self, text: str = TEXTS[0]) -> httpx.Response:
        with self.running.client() as http:
            return http.post("/predict", json={"text": text})


@pytest.fixture
def two(trained: Trained, tmp_path: Path) -> Iterator[Service]:
    world, client = service.copied(trained, tmp_path / "world")
    service.add_opposite(client, tmp_path / "opposite")
    service.promote(client, 1)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with service.running(world, "--workers", "2", "--dataset", "sample", TMPDIR=str(temporary)) as running:
        made = Service(world, client, running)
        with running.client() as http:
            until(lambda: len(made.workers) == 2 and figure(http, "sentiflow_champion_loads_total") == 2)
        yield made
    assert not list(temporary.iterdir())


def test_both_answer_and_each_shows_the_figures_of_both(two: Service) -> None:
    before = [worker.cpu_times().user for worker in two.workers]
    assert len(before) == 2
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(two.ask, TEXTS * 200))
    assert {answer.status_code for answer in answers} == {200}
    after = [worker.cpu_times().user for worker in two.workers]
    assert all(b - a > 0.1 for a, b in zip(before, after, strict=True)), "one of them did all"
    with two.running.client() as http:  # an answer is counted once it was written
        until(lambda: figure(http, "sentiflow_http_requests_total", path="/predict", status="200") == len(answers))
    for _ in range(10):
        with two.running.client() as http:
            assert figure(http, "sentiflow_http_requests_total", path="/predict", status="200") == len(answers)
            assert figure(http, "sentiflow_texts_scored_total") == len(answers)
            assert figure(http, "sentiflow_http_request_seconds_count", path="/predict") == len(answers)
            assert figure(http, "sentiflow_champion_loads_total") == 2
            assert figure(http, "sentiflow_queue_texts") == 0
            assert figure(http, "sentiflow_model_info", name=MODEL, version="1") == 1
            assert figure(http, "sentiflow_ready") == 1


def test_a_promotion_under_load_reaches_both_and_fails_no_request(two: Service) -> None:
    expected = {str(number): service.scorer_of(two.client, number).score(TEXTS) for number in (1, 2)}

    stop = threading.Event()
    seen: list[set[str]] = [set() for _ in range(8)]

    def hammer(number: int) -> None:
        while not stop.is_set():
            for text, *scores in zip(TEXTS, expected["1"], expected["2"], strict=True):
                answer = two.ask(text)
                seen[number].add(version := answer.headers["x-model-version"])
                score = answer.json()["predictions"][0]["score"]
                assert score == pytest.approx(scores[int(version) - 1], abs=1e-9)

    with ThreadPoolExecutor(8) as pool:
        hammers = [pool.submit(hammer, number) for number in range(8)]
        try:
            until(lambda: all("1" in each for each in seen) or any(each.done() for each in hammers))
            service.promote(two.client, 2)
            until(lambda: all("2" in each for each in seen) or any(each.done() for each in hammers))
        finally:
            stop.set()
        for each in hammers:
            each.result()
    assert seen == [{"1", "2"}] * 8
    with two.running.client() as http:
        until(lambda: figure(http, "sentiflow_model_info", name=MODEL, version="1") == 0)
        assert two.versions() == {"2"}
        assert figure(http, "sentiflow_model_info", name=MODEL, version="2") == 1


def test_a_worker_that_is_killed_is_replaced_and_the_other_answers_meanwhile(two: Service) -> None:
    for loads in (3, 4, 5):
        killed, other = two.workers
        killed.kill()
        assert {two.ask().status_code for _ in range(20)} == {200}
        assert other in two.once_replaced(killed)
        with two.running.client() as http:  # the new one answers, too, before the other is killed
            until(lambda loads=loads: figure(http, "sentiflow_champion_loads_total") == loads)
    assert sum("died" in line for line in two.running.lines) == 3, two.running.lines
    with two.running.client() as http:
        until(lambda: figure(http, "sentiflow_ready") == 1)
        until(lambda: figure(http, "sentiflow_http_requests_total", path="/predict", status="200") == 60)
        service.promote(two.client, 2)
        until(lambda: figure(http, "sentiflow_model_info", name=MODEL, version="2") == 1)
        until(lambda: figure(http, "sentiflow_model_info", name=MODEL, version="1") == 0)  # nor of those killed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_they_answer_what_is_under_way(two: Service, number: signal.Signals) -> None:
    workers = two.workers
    body = json.dumps({"text": TEXTS[0]}).encode()
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
        % len(body)
    )
    with ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_connection(two.running.host_and_port, timeout=10)) for _ in range(8)
        ]
        for each in sockets:
            each.sendall(head)
        for each in sockets:
            assert each.recv(1_000).startswith(b"HTTP/1.1 100 ")  # it waits for the body: the request is under way
            each.sendall(body[:5])
        for process in (two.running.process, *(workers if number == signal.SIGINT else ())):  # as a terminal does
            process.send_signal(number)
        until(lambda: _refused(two.running))
        for each in sockets:
            each.sendall(body[5:])
            assert each.recv(1_000).startswith(b"HTTP/1.1 200 ")
    assert two.running.process.wait(20) == 0
    assert not any(worker.is_running() for worker in workers)
    assert "Traceback" not in "".join(two.running.lines)


def _refused(running: Running) -> bool:
    try:
        with socket.create_connection(running.host_and_port, timeout=0.2) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return not connection.recv(1)
    except OSError:  # while they end, the kernel still takes connections, which nobody answers
        return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGHUP, 129)])
def test_none_is_left_when_the_one_that_started_them_is_killed_or_its_terminal_is_closed(
    two: Service, number: signal.Signals, code: int
) -> None:
    children = psutil.Process(two.running.process.pid).children()
    two.running.process.send_signal(number)
    assert two.running.process.wait(20) == code
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    if number == signal.SIGKILL:
        shutil.rmtree(next((two.world.root.parent / "temporary").iterdir()))  # as the machine's own cleaning does


def test_a_worker_that_hangs_is_killed_at_the_end(two: Service) -> None:
    hanging, _ = two.workers
    hanging.suspend()
    two.running.process.terminate()
    assert two.running.process.wait(60) == 0
    assert not hanging.is_running()
