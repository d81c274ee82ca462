"""The service under load, and strangers."""

import gzip
import json
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np

from sentiflow.errors import SentiflowError
from sentiflow.settings import Settings
from sentiflow.store.find import open_store
from sentiflow.store.versions import find_version
from tests.faults.campaign import Case, Red
from tests.faults.schedules import IDLE, at_home
from tests.faults.scoring import MAX_GROWTH
from tests.faults.worlds import NAME, SAMPLE, Worlds, put_in_use, scorer_of
from tests.scheduled import Scheduled
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import TEXTS, Running, exchange, figure
from tests.sentiflow.serving.test_origins import FOREIGN
from tests.sentiflow.store.test_rest_api import answering
from tests.world import Registry, World

CONNECTIONS, SWAPS = (1, 8, 32, 128), 6
LEVEL_SECONDS = 60  # of a level of connections at least, in all tries but the first
QUEUE, TEXTS_AT_ONCE = 512, 64  # the queue takes what all connections send at once, and not what follows


def under_load(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Requests on 1 to 128 connections while the champion changes; then four times what the queue takes."""
    world = worlds.copy(folder)
    client = put_in_use(world, Registry.GOOD)
    right = {number: scorer_of(client, number).score(TEXTS) for number in (Registry.GOOD, Registry.POOR)}
    counted = {"requests": 0, "changes of the champion": 0, "of them refused by 429": 0}
    with service.running(world, *SAMPLE, SENTIFLOW_SERVE_QUEUE=str(QUEUE)) as running:
        for connections in CONNECTIONS:
            stop = threading.Event()
            with ThreadPoolExecutor(connections) as pool:
                jobs = [pool.submit(_ask, running, right, stop, k) for k in range(connections)]
                try:
                    until, changes = time.monotonic() + (LEVEL_SECONDS if seed else 0), 0
                    while changes < SWAPS or time.monotonic() < until:
                        number = Registry.POOR if changes % 2 == 0 else Registry.GOOD
                        put_in_use(world, number)
                        _until_answered(running, number, jobs)
                        changes += 1
                finally:
                    stop.set()
            seen = [job.result() for job in jobs]
            counted["requests"] += sum(map(len, seen))
            counted["changes of the champion"] += changes
            assert {number for each in seen for number in each} == set(right), "no change was seen under load"
        codes = _overload(running, 4 * QUEUE // TEXTS_AT_ONCE)
        counted["requests"] += len(codes)
        counted["of them refused by 429"] += codes.count(429)
        assert set(codes) == {200, 429}, f"under overload: {sorted(set(codes))}"
    return counted


def _ask(running: Running, right: dict[int, np.ndarray], stop: threading.Event, first: int) -> list[int]:
    """Ask until it is time to stop; the versions that answered. Each answer must be that version's."""
    seen: list[int] = []
    with running.client() as http:
        while not stop.is_set() or not seen:
            first_text = (first + len(seen)) % len(TEXTS)
            turned = [*range(first_text, len(TEXTS)), *range(first_text)]
            answer = http.post("/predict", json={"texts": [TEXTS[k] for k in turned]})
            assert answer.status_code == 200, (answer.status_code, answer.text)
            told = answer.json()
            number = told["model"]["version"]
            assert answer.headers["x-model-version"] == str(number)
            scores = np.array([each["score"] for each in told["predictions"]])
            worst = np.abs(scores - right[number][turned]).max()
            assert worst < 1e-9, f"version {number} answered with other scores than its own: {scores}"
            seen.append(number)
    return seen


def _until_answered(running: Running, number: int, jobs: list) -> None:
    """Wait until a version answers; a failed request ends the wait."""

    def answers() -> bool:
        for job in jobs:
            if job.done():
                job.result()
        with running.client() as http:
            return bool(http.get("/model").json()["version"] == number)

    service.until(answers, 60)


def _overload(running: Running, requests: int) -> list[int]:
    """Codes of requests that come all at once, with more texts than the queue takes."""
    long = {"texts": ["good film " * 300] * TEXTS_AT_ONCE}
    together = threading.Barrier(requests)

    def send() -> int:
        with running.client() as http:
            together.wait(60)
            answer = http.post("/predict", json=long)
        assert answer.status_code != 429 or int(answer.headers["retry-after"]) >= 1
        return answer.status_code

    with ThreadPoolExecutor(requests) as pool:
        return [job.result() for job in [pool.submit(send) for _ in range(requests)]]


F8 = Case(
    "F8",
    "Under load a change of the champion fails no request, and each answer is of one version; what the queue "
    "cannot take is refused.",
    f"The load comes from {', '.join(map(str, CONNECTIONS))} connections in turn, with {SWAPS} changes of the "
    f"champion each (in all tries but the first as many as {LEVEL_SECONDS} s allow). Each answer's scores must "
    "be those of the version that it names. Then come four times the texts that the queue takes, at once.",
    under_load,
    short=1,
    long=2,
    reds=(
        Red(
            "the queue takes everything", "sentiflow/serving/batching.py",
            "self._waiting + len(texts) > self._max", "False", "under overload",
        ),
        Red(
            "nothing answers while a champion is loaded", "sentiflow/serving/champion.py",
            "            loaded = _load(found, self._settings)\n",
            '            self._set(State(None, "changing"), "changing")\n'
            "            loaded = _load(found, self._settings)\n", "(503, | KeyError: 'version'",
        ),
        Red(
            "the version is read again when the answer is written", "sentiflow/serving/app.py",
            "schemas.Predictions(predictions=predictions, model=_model(loaded)), loaded",
            "schemas.Predictions(predictions=predictions, model=_model(watcher.loaded)), watcher.loaded",
            "other scores than its own",
        ),
    ),
)  # fmt: skip

PATHS = (
    "/../../../../etc/passwd", "/docs/..%2f..%2f..%2fetc%2fpasswd", "//etc/passwd",
    "/static/%2e%2e/%2e%2e/etc/passwd", "/docs/swagger-ui.css/../../../etc/passwd", "/%00", "/predict/../metrics", "http://evil.example/",
)  # fmt: skip
HOSTS = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "[::2]", "a b")
NAMES = ("../x", "../../data/locks/x", "/etc/passwd", "x/../../y", "a\x00b", "", "%2e%2e", "x' OR '1'='1")
BOMBS = (  # a body, and the header of its coding
    (gzip.compress(b" " * 50_000_000), {"content-encoding": "gzip"}),
    (gzip.compress(b'{"text": "good"}'), {"content-encoding": "gzip"}),
    (b'{"text": ' + b"[" * 1_000_000, {}),
    (b'{"texts": [' + b'["a"], ' * 400_000 + b'"a"]}', {}),
    (b'{"text": ' + b"9" * 1_000_000 + b"}", {}),
    (b" " * 50_000_000, {}),
)  # fmt: skip
LISTED = ("../../../evil", "/{root}/evil", "..", "a/../../../../evil")


def strangers(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Pages of other sites, wrong hosts, paths and names that lead elsewhere, a server that lists such files."""
    world = worlds.copy(folder / "world")
    put_in_use(world, Registry.GOOD)
    asked = 0
    with service.running(world, *SAMPLE) as running, running.client() as http:
        port, scored = running.host_and_port[1], figure(http, "sentiflow_texts_scored_total")
        for headers in FOREIGN:
            for path in ("/predict", "/explain"):
                sent = {name: value.format(port=port) for name, value in headers.items()}
                assert http.post(path, json={"text": "good"}, headers=sent).status_code == 403, headers
                asked += 1
        for host in HOSTS:
            answer = exchange(running, f"GET /model HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer.split(b" ")[1] in (b"400", b"421"), (host, answer)
            assert NAME.encode() not in answer, host
            asked += 1
        for path in PATHS:
            answer = exchange(running, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert answer.split(b" ")[1] in (b"400", b"403", b"404", b"405", b"421"), (path, answer[:200])
            assert b"root:" not in answer, path
            asked += 1
        before = _peak(running.process.pid)
        for body, headers in BOMBS:
            answer = http.post("/predict", content=body, headers=headers)
            assert answer.status_code in (413, 415, 422), (body[:40], answer.status_code)
            asked += 1
        grown = _peak(running.process.pid) - before
        assert grown < MAX_GROWTH, f"the service has grown by {grown / 1e6:.0f} MB"
        assert figure(http, "sentiflow_texts_scored_total") == scored, "a stranger's text was scored"
    asked += _names(world) + _listed(folder) + _logins(worlds.copy(folder / "scheduled"))
    return {"requests and names": asked}


def _peak(pid: int) -> int:
    """The most memory that a process ever had (bytes)."""
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def _logins(world: World) -> int:
    """Requests to the Prefect server of a schedule without its login, or with a wrong one."""
    asked = 0
    with at_home(world) as home:
        schedule = Scheduled(home, *IDLE)
        schedule.until_says("Prefect UI")
        for login in (None, ("sentiflow", ""), ("sentiflow", "wrong"), ("", ""), ("admin", "admin")):
            with httpx.Client(base_url=f"http://127.0.0.1:{home.port}/api", auth=login, trust_env=False) as http:
                for path in ("/deployments/filter", "/flow_runs/filter", "/block_documents/filter"):
                    assert (answer := http.post(path, json={})).status_code == 401, (login, path)
                    assert "sentiflow" not in answer.text and "deployment" not in answer.text, answer.text
                    asked += 1
        assert schedule.ends(signal.SIGTERM) == 0, schedule.output[-2_000:]
    return asked


def _need_refusal(call: Callable[[], object]) -> None:
    try:
        given = call()
    except SentiflowError:
        return
    raise AssertionError(f"{given} was given to a stranger")


def _names(world: World) -> int:
    """Names that lead elsewhere, of models and, by commands that read and change, of datasets."""
    before = set(world.root.parent.rglob("*"))
    for name in NAMES:
        _need_refusal(partial(find_version, world.settings, name or "/", None))
        for command in (("predict", "good"), ("rollback", "--reason", "none")) if "\x00" not in name else ():
            done = world.run(*command, "--dataset", name)
            assert done.returncode == 2 and "No model is registered" in done.stderr, (name, command, done.stderr)
    assert set(world.root.parent.rglob("*")) == before, "a name led to a file"
    return len(NAMES)


def _listed(folder: Path) -> int:
    """Names of files that a hostile tracking server lists."""
    for name in LISTED:
        body = {"artifact_uri": "mlflow-artifacts:/1/m", "files": [{"path": name.replace("/{root}", str(folder))}]}
        place = folder / "one" / "two" / "three"
        with answering(200, json.dumps(body)) as address:
            store = open_store(Settings(tracking_uri=address))
            _need_refusal(partial(store.version_files, "m", 1, place))
        assert not list(folder.rglob("evil")), f"a file was written where {name} leads"
    return len(LISTED)


F14 = Case(
    "F14",
    "Strangers are refused and learn nothing: other sites' pages, wrong hosts, wrong logins, names that lead "
    "elsewhere, bodies that grow when they are read.",
    f"A try makes {2 * len(FOREIGN)} requests as another site's page sends them, asks by {len(HOSTS)} wrong host "
    f"names, for {len(PATHS)} paths and {len(NAMES)} names of models that lead elsewhere, has a tracking server "
    f"list {len(LISTED)} such names of files, sends {len(BOMBS)} bodies that are compressed, nested or huge, and "
    "makes 15 requests to a schedule's Prefect server with no login or a wrong one.",
    strangers,
    short=1,
    long=1,
    reds=(
        Red(
            "file names of a tracking server are taken as they are", "sentiflow/store/http.py",
            'if "/" in name or name in ("", ".", ".."):', "if False:", "was given to a stranger",
        ),
        Red(
            "every host is answered", "sentiflow/serving/middleware.py",
            "if host is not None and not self._is_here(", "if False and not self._is_here(", "evil.example",
        ),
        Red(
            "pages of other sites are answered", "sentiflow/serving/middleware.py",
            "if (elsewhere and not _is_link(method, headers)) or (origin and origin not in own):", "if False:",
            "cross-site",
        ),
        Red(
            "bodies of any size are read", "sentiflow/serving/app.py",
            "max_body_size=max_body)", "max_body_size=1_000 * max_body)", "has grown by",
        ),
        Red(
            "the schedule's server asks for no login", "sentiflow/operations/prefect_server.py",
            '            "PREFECT_SERVER_API_AUTH_STRING": self.login,\n', "", "(None, '/deployments/filter')",
        ),
    ),
)  # fmt: skip
