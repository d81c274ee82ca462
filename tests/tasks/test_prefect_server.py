import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasks.processes import end
from tests.world import World


class Something(BaseHTTPRequestHandler):
    """A server that is none of Prefect's, although it answers everything well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "ok"}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def taken() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Something)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_something_else_at_the_port_is_told_and_left_alone(world: World, taken: int) -> None:
    done = world.run("schedule", PREFECT_API_URL="", SENTIFLOW_PREFECT_PORT=str(taken))
    assert (done.returncode, f"Port {taken} is taken, and not by a Prefect server." in done.stderr) == (3, True)
    done = world.run("trigger", "train", PREFECT_API_URL="", SENTIFLOW_PREFECT_PORT=str(taken))
    assert (done.returncode, "No Prefect server answers" in done.stderr) == (3, True)


def test_a_server_that_is_set_and_does_not_answer_is_told(world: World) -> None:
    done = world.run("schedule", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (done.returncode, "http://127.0.0.1:9/api does not answer" in done.stderr) == (3, True)


def test_a_process_that_ignores_being_asked_is_ended_all_the_same() -> None:
    reader, writer = os.pipe()
    child = os.posix_spawn(
        "/bin/sh", ["sh", "-c", "trap '' TERM INT; echo ready; while :; do sleep 0.1; done"], dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)],
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.readline() == "ready\n"
        end(child, seconds=(0.2, 0.2, 10))
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
