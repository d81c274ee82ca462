import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from filelock import FileLock
from playwright.sync_api import expect
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)

from sentiflow.operations.prefect_server import _login, flow_run_url, make_database
from tests import servers
from tests.browsers import chromium, foreign_requests
from tests.polling import until
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import World, make_world

# What `sentiflow schedule` does about its server; it ends when its standard input does.
SCHEDULE = """
import sys
from filelock import FileLock
from sentiflow.settings import load_settings
from sentiflow.operations.prefect_server import running_server, schedule_folder
settings = load_settings()
with FileLock(schedule_folder(settings) / "lock"), running_server(settings):
    print("ready", flush=True)
    sys.stdin.read()
"""
# What `sentiflow trigger` does about it.
FIND = """
import os
from sentiflow.settings import load_settings
from sentiflow.operations.prefect_server import use_running
print(use_running(load_settings()) is not None, os.environ.get("PREFECT_API_AUTH_STRING"))
"""
# The command line, whose end may take so many seconds.
COMMAND = """
import os
os.environ.pop("PREFECT_API_URL")
from sentiflow.operations import deployments
from sentiflow.__main__ import main
deployments._LAST_SECONDS = {last}
main()
"""
PATCHED = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}]}


class Something(BaseHTTPRequestHandler):
    """A server that is none of Prefect's, although it answers everything well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "ok"}).encode())

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Schedule:
    """A process that runs a Prefect server as `sentiflow schedule` does."""

    world: World
    process: "subprocess.Popen[str]"
    port: int

    @property
    def note(self) -> Path:
        return self.world.root / "data" / "schedule" / "server.json"

    @property
    def login(self) -> str:
        return str(json.loads(self.note.read_text())["login"])

    def client(self, login: str = "") -> httpx.Client:
        user, _, password = login.partition(":")
        base = f"http://127.0.0.1:{self.port}/api"
        return httpx.Client(base_url=base, auth=(user, password) if login else None, trust_env=False, timeout=30)

    def deploy(self) -> str:
        """Make a deployment as its owner; gives its id."""
        api = f"http://127.0.0.1:{self.port}/api"
        with SyncPrefectClient(api, auth_string=self.login) as client:  # repeats what a busy database refuses
            return str(client.create_deployment(client.create_flow_from_name("f"), "d"))

    def find(self) -> str:
        return python(self.world, FIND).communicate(timeout=60)[0].strip()


def python(world: World, code: str, **variables: str) -> "subprocess.Popen[str]":
    environment = world.environment(**variables)
    environment.pop("PREFECT_API_URL", None)
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, cwd=world.root,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def started(world: World, **variables: str) -> Schedule:
    port = free_port()
    process = python(world, SCHEDULE, SENTIFLOW_PREFECT_PORT=str(port), **variables)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(process.communicate()[1])
    return Schedule(world, process, port)


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Schedule]:
    """For the tests that ask its server; the last of them kills it."""
    made = started(make_world(tmp_path_factory.mktemp("schedule"), migrated_store))
    yield made
    made.process.communicate(timeout=30)


@pytest.mark.story
def test_a_page_of_another_origin_cannot_change_a_deployment(schedule: Schedule) -> None:
    made = schedule.deploy()
    with schedule.client(schedule.login) as owner:

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<title>page</title>")

            def log_message(self, *_: object) -> None:
                pass

        attack = """async ([url, body]) => {
            const told = [];
            for (const [method, path, sent] of [
                ["POST", "/deployments/filter", {}], ["PATCH", "/deployments/%s", body],
                ["POST", "/deployments/%s/create_flow_run", {}],
            ])
                try {
                    const answer = await fetch(url + path, {
                        method, headers: {"Content-Type": "application/json"}, body: JSON.stringify(sent)});
                    told.push(answer.status);
                } catch (error) { told.push("refused"); }
            return told;
        }""".replace("%s", made)
        with servers.http(Page) as port, chromium() as browser:
            page = browser.new_page()
            page.goto(f"http://localhost:{port}/")
            told = page.evaluate(attack, [f"http://127.0.0.1:{schedule.port}/api", PATCHED])
        assert told == ["refused"] * 3
        assert not owner.get(f"/deployments/{made}").json()["pull_steps"]
        assert owner.post("/flow_runs/count", json={}).json() == 0


@pytest.mark.story
@pytest.mark.parametrize(
    "preferred", [pytest.param("v1", marks=pytest.mark.weekly), "v2"]
)  # of Prefect's pages, by a choice that the browser keeps
def test_a_link_to_a_flow_run_leads_there_through_the_login_and_asks_no_other_host(
    schedule: Schedule, preferred: str
) -> None:
    base = f"http://127.0.0.1:{schedule.port}"
    with SyncPrefectClient(f"{base}/api", auth_string=schedule.login) as client, chromium() as browser:
        made = client.create_flow_run(flow(lambda: None, name="f"), name="the-run")
        page = browser.new_page()
        asked = foreign_requests(page.context, "127.0.0.1", "localhost")
        page.context.add_cookies([{"name": "prefect_ui_version", "value": preferred, "url": base}])
        with temporary_settings({PREFECT_API_URL: f"{base}/api"}):
            page.goto(flow_run_url(str(made.id)))
        page.locator("input").first.fill(schedule.login)
        page.keyboard.press("Enter")
        expect(page.get_by_text("the-run").first).to_be_visible()
        page.goto(f"http://localhost:{schedule.port}/")
        page.wait_for_timeout(2_000)  # its analytics begin behind the page
        assert not asked


@pytest.mark.story
def test_who_does_not_know_the_login_of_our_server_is_refused(schedule: Schedule) -> None:
    assert stat.S_IMODE(schedule.note.stat().st_mode) == 0o600
    assert len(schedule.login) > len("sentiflow:") + 30
    path = f"/deployments/{schedule.deploy()}"
    for login in ("", "sentiflow:", "sentiflow:guess", ":", "admin:admin"):
        with schedule.client(login) as stranger:
            assert stranger.patch(path, json=PATCHED).status_code == 401
            assert stranger.post(f"{path}/create_flow_run", json={}).status_code == 401
            for read in ("/deployments/filter", "/flow_runs/filter", "/block_documents/filter"):
                assert (answer := stranger.post(read, json={})).status_code == 401, (login, read)
                assert "sentiflow" not in answer.text and "deployment" not in answer.text, answer.text
    with schedule.client("sentiflow:pässword") as stranger:  # of which Prefect's comparison makes an error
        assert stranger.post("/deployments/filter", json={}).status_code in (401, 500)
    with schedule.client() as stranger:
        preflight = {
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "content-type,authorization",
        }
        foreign = stranger.options(path, headers={"Origin": "http://evil.example", **preflight})
        assert "access-control-allow-origin" not in foreign.headers and foreign.status_code == 400
        page = f"http://127.0.0.1:{schedule.port}"
        own = stranger.options(path, headers={"Origin": page, **preflight})
        assert own.headers["access-control-allow-origin"] == page
    with schedule.client(schedule.login) as owner:
        assert not owner.get(path).json()["pull_steps"]

    api = f"http://127.0.0.1:{schedule.port}/api"
    done = schedule.world.run("trigger", "train", PREFECT_API_URL=api)
    assert (done.returncode, "The Prefect server refuses the login." in done.stderr) == (3, True)
    assert "PREFECT_API_AUTH_STRING" in done.stderr

    assert schedule.find() == f"True {schedule.login}"
    assert stat.S_IMODE(schedule.note.parent.stat().st_mode) == 0o700  # nobody else can hold its lock
    # Killed, its server ends with it, and the note that it left is nobody's login any more.
    schedule.process.kill()
    schedule.process.wait()
    until(lambda: schedule.world.processes() == [], "the server to end", 20)
    assert schedule.note.exists() and schedule.find() == "False None"
    with FileLock(schedule.note.with_name("lock")):  # another one starts, and has not written its own yet
        schedule.note.write_text("")
        assert schedule.find() == "False None"


def test_each_start_has_a_login_of_its_own_unless_prefects_settings_give_one() -> None:
    assert _login() != _login()
    with temporary_settings({PREFECT_API_AUTH_STRING: "me:too"}):
        assert _login() == "me:too"
        with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "me:mine"}):
            assert _login() == "me:mine"


@pytest.mark.story
def test_a_server_takes_the_login_that_is_given_and_a_schedule_ends_when_its_server_does(world: World) -> None:
    schedule = started(world, PREFECT_SERVER_API_AUTH_STRING="me:mine")
    assert schedule.login == "me:mine"
    with schedule.client(schedule.login) as owner:
        services = owner.get("/admin/settings").json()["server"]["services"]
    assert not services["late_runs"]["enabled"], "after an hour of sleep it locks its database for minutes"
    (server,) = (process for process in world.processes() if process != schedule.process.pid)
    os.kill(server, signal.SIGKILL)
    assert schedule.process.wait(20) == 3
    assert "The Prefect server ended with exit code -9." in schedule.process.communicate()[1]


@pytest.mark.story
@pytest.mark.parametrize(
    ("signals", "last", "seconds"), [pytest.param(1, 10, 40, marks=pytest.mark.weekly), (2, 60, 20)]
)
def test_a_schedule_whose_server_is_frozen_can_be_ended(
    world: World, signals: int, last: int, seconds: int
) -> None:
    """After one signal it ends by itself, after a minute: here 10 s."""
    home = Home(world, free_port())
    program = [sys.executable, "-c", COMMAND.format(last=last)]
    schedule = Scheduled(home, "--dataset", "sample", "--train", "off", program=program, housekeeping="off")
    schedule.until_says("Prefect UI")
    (server,) = (process for process in world.processes() if process != schedule.process.pid)
    os.kill(server, signal.SIGSTOP)
    time.sleep(5)  # it asks for what is due, and waits for the answer
    began = time.monotonic()
    for _ in range(signals):
        os.kill(schedule.process.pid, signal.SIGINT)
        time.sleep(2)
    try:
        assert schedule.process.wait(120) == 130
        assert time.monotonic() - began < seconds
        assert "Ending:" in schedule.output
    finally:
        os.kill(server, signal.SIGCONT)
    until(lambda: world.processes() == [], "the server to end", 20)


@pytest.mark.story
def test_something_else_at_the_port_is_told_and_left_alone(world: World) -> None:
    with servers.http(Something) as taken:
        done = world.run("schedule", PREFECT_API_URL="", SENTIFLOW_PREFECT_PORT=str(taken))
        assert (
            done.returncode,
            f"Cannot listen on port {taken} of 127.0.0.1: Address already in use" in done.stderr,
        ) == (3, True)
        done = world.run("trigger", "train", PREFECT_API_URL="", SENTIFLOW_PREFECT_PORT=str(taken))
        assert (done.returncode, "no `sentiflow schedule` is running" in done.stderr) == (3, True)


@pytest.mark.story
def test_a_server_that_is_set_and_does_not_answer_is_told(world: World) -> None:
    done = world.run("schedule", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (done.returncode, "http://127.0.0.1:9/api does not answer" in done.stderr) == (3, True)


@pytest.mark.story
def test_a_server_that_cannot_start_ends_the_command_with_its_reason(world: World) -> None:
    (world.root / "file").write_text("no folder")
    began = time.monotonic()
    home = str(world.root / "file" / "prefect")
    done = world.run("housekeeping", PREFECT_API_URL="", PREFECT_HOME=home)
    assert (done.returncode, "Not a directory" in done.stderr, "Traceback" in done.stderr) == (3, True, False)
    assert time.monotonic() - began < 60  # Prefect's own server was started again for 166 s


def _garbage(file: Path) -> None:
    file.write_bytes(b"garbage" * 1_000)


def _cut(file: Path) -> None:
    make_database(file)
    os.truncate(file, file.stat().st_size // 2)


def _of_another_release(file: Path) -> None:
    make_database(file)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0123456789ab'")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_garbage, "file is not a database"),
        pytest.param(_cut, "database disk image is malformed", marks=pytest.mark.story),
        pytest.param(_of_another_release, "Can't locate revision", marks=pytest.mark.story),
    ],
)
def test_a_database_that_cannot_be_used_is_named_with_the_way_out(
    world: World, damage: Callable[[Path], None], told: str
) -> None:
    """Red if the message named another folder, or none, and said nothing of a backup."""
    file = world.root / "prefect" / "prefect.db"
    file.parent.mkdir()
    damage(file)
    process = python(world, SCHEDULE, SENTIFLOW_PREFECT_PORT=str(free_port()))
    said = process.communicate(timeout=120)[1]
    assert all(word in said for word in (told, str(file), "restore a backup", "move it away")), said


@pytest.mark.story
@pytest.mark.weekly
def test_servers_that_start_at_once_on_an_empty_folder_make_one_database(world: World, tmp_path: Path) -> None:
    """Prefect's migrations race; and of a process that was killed while it made the database nothing is used."""
    home, environment = tmp_path / "home", tmp_path / "environment"
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.prefix = {str(environment)!r}\n")
    begin = partial(python, code=SCHEDULE, PYTHONPATH=str(tmp_path))
    killed = begin(world, SENTIFLOW_PREFECT_PORT=str(free_port()), PREFECT_HOME=str(home))
    until(lambda: list(home.rglob("*.partial*")), "the database to be begun")
    for process in world.processes():  # the server, too, which would finish within the time that it has to end
        os.kill(process, signal.SIGKILL)
    killed.communicate()
    until(lambda: world.processes() == [], "the server to end", 20)
    assert not (home / "prefect.db").exists()
    worlds = [World(tmp_path / str(k)) for k in range(2)]
    for each in worlds:
        each.root.mkdir()
    begun = [begin(each, SENTIFLOW_PREFECT_PORT=str(free_port()), PREFECT_HOME=str(home)) for each in worlds]
    for process, each in zip(begun, worlds, strict=True):
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        (log,) = (each.root / "data" / "schedule").glob("*.log")
        # Both register their blocks at once, which Prefect reports and survives: that is no fault of the database.
        assert not re.search("alembic|no such table|already exists", written := log.read_text()), written
    for process, each in zip(begun, worlds, strict=True):
        process.communicate(timeout=30)
        assert not (each.root / "data" / "schedule" / "server.json").exists() and each.processes() == []
    alone = tmp_path / "alone"
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.prefix = '/proc'\n")  # cannot be written to
    begin(world, SENTIFLOW_PREFECT_PORT=str(free_port()), PREFECT_HOME=str(alone)).communicate(timeout=300)
    assert schema(home) == schema(alone) != []
    assert not [*home.rglob("*.partial*"), *environment.rglob("*.partial*")]


def schema(home: Path) -> list[object]:
    """Columns and indexes by name; the order of constraints in a table's text is chance."""
    columns = "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table'"
    indexes = "SELECT type, name FROM sqlite_master"
    with sqlite3.connect(home / "prefect.db") as connection:
        return sorted(connection.execute(columns)) + sorted(connection.execute(indexes))
