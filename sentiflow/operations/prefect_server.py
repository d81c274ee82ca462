"""A Prefect server of our own for schedules and single commands, its database, and access to the settings' one."""

import atexit
import json
import os
import re
import secrets
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import prefect
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings

from sentiflow.children import END_SECONDS, Child, stop
from sentiflow.console import CONSOLE
from sentiflow.environment import ROOT, ask_directly, expanded, open_socket
from sentiflow.errors import ExternalError
from sentiflow.files import leftovers, make_folder, own_folder, publish, publish_private
from sentiflow.locks import brief_lock, if_free
from sentiflow.redaction import redact, without_login
from sentiflow.settings import Settings, load_settings

_HOST = "127.0.0.1"
ARGUMENTS = (
    "--factory", "prefect.server.api.server:create_app", "--app-dir", ROOT, "--workers", "1", "--lifespan", "on",
    "--log-level", "error", "--timeout-graceful-shutdown", "2", "--fd",
)  # fmt: skip
"""Of uvicorn, to run Prefect's server as Prefect runs a temporary one; a socket's number follows."""
_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",  # `sentiflow trigger` follows them
    "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
    # It marks many due runs at once, as after an hour of sleep: SQLite is then locked for minutes.
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    # One run of a schedule is planned at a time: what was missed does not pile up.
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT0S",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "3600",  # it would plan others
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",  # it imports all collections of Prefect to save nothing
}
_NO_PAGES = {"PREFECT_UI_ENABLED": "false", "PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}
_START_SECONDS = 120
OUR_USER = "sentiflow:"  # begins a login that was made here
_DATABASE, _FILE = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:///"
_temporary: set[str] = set()  # API addresses of this process's temporary server
_found: set[str] = set()  # and of a running schedule's, which no setting names


@dataclass(frozen=True)
class Server:
    """A running Prefect server: its address for a browser, and ``user:password`` of one of our own."""

    ui: str
    login: str = ""


def start_early(settings: Settings) -> tuple[Callable[[], None], str]:
    """Start a temporary server in the background, unless Prefect's settings name one.

    It ends with this process, whose environment has its address and login then. Gives a function to call before
    the flow (it waits, and raises what the start raised), and which server it is.
    """
    if url := get_current_settings().api.url:
        return lambda: None, f"the server at {redact(url)}"
    log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the server
    own = _OwnServer(settings, 0, log, _NO_PAGES)
    _temporary.add(f"{own.base}/api")
    # Links lead to the server that `sentiflow schedule` starts: it has the same database, and pages.
    _use(own.base, own.login, f"http://{_HOST}:{settings.prefect_port}")
    own.on_unasked_end(lambda _code: own.listener.close())  # requests are refused at once then
    atexit.register(own.stop)
    return own.wait_until_ready, "a temporary server"


@contextmanager
def running_server(settings: Settings) -> Iterator[Server]:
    """Use the Prefect server that is set; else start one for the block, which the user's commands find."""
    note = server_note(settings)
    note.unlink(missing_ok=True)  # of a schedule that was killed
    if (server := _configured()) is not None:
        yield server
        return
    with (schedule_folder(settings) / f"server-{settings.prefect_port}.log").open("w+b") as log:
        own = _OwnServer(settings, settings.prefect_port, log, {})

        def end_this_process(code: int) -> None:
            note.unlink(missing_ok=True)
            CONSOLE.print(f"[bold red]Error:[/] The Prefect server ended with exit code {code}.")
            os._exit(ExternalError.exit_code)  # it can go on with nothing, and keeps the address until then

        try:
            _use(own.base, own.login, own.base)
            own.wait_until_ready()
            own.on_unasked_end(end_this_process)
            server = Server(own.base, own.login)
            publish_private(note, json.dumps(asdict(server)).encode())
            yield server
        finally:
            note.unlink(missing_ok=True)
            own.stop()


def connect_to_running(settings: Settings) -> Server:
    """The server that Prefect's settings name, or that of the `sentiflow schedule` of this data folder."""
    if (server := _configured() or use_running(settings)) is None:
        problem = "No Prefect server is set, and no `sentiflow schedule` is running with this data folder."
        raise ExternalError(problem, "Start `sentiflow schedule`, or set PREFECT_API_URL to the server to use.")
    return server


def lasting_api_url() -> str | None:
    """The API of Prefect's server, unless it is a temporary one, which only this process knows."""
    url = get_current_settings().api.url
    return None if not url or url in _temporary else url


def schedule_folder(settings: Settings) -> Path:
    """Where `sentiflow schedule` keeps its lock, the note on its server and the server's log."""
    return own_folder(settings.data_dir / "schedule")  # who can open the lock can hold it


class _OwnServer:
    """A server of our own, which wants a login; while this process lives, no other can take its address."""

    def __init__(self, settings: Settings, port: int, output: "IO[bytes]", variables: dict[str, str]) -> None:
        self._database = choose_database(settings)
        if self._database is not None:
            make_database(self._database)
        self.listener = open_socket(_HOST, port, "Set SENTIFLOW_PREFECT_PORT to a free one.")
        self._output = output
        port = self.listener.getsockname()[1]
        self.base = f"http://{_HOST}:{port}"
        self.login = _login()
        self._ready = False
        own = {
            "PREFECT_SERVER_API_AUTH_STRING": self.login,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{self.base},http://localhost:{port}",
            "PREFECT_SERVER_UI_API_URL": f"{self.base}/api",  # its pages would ask port 4200 otherwise
        }
        ours = f"'self' {self.base} ws://{_HOST}:{port}"
        policy = f"Content-Security-Policy:default-src {ours} data: blob: 'unsafe-inline' 'unsafe-eval'"
        descriptor = self.listener.fileno()
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("UVICORN_")}
        self._child = Child(
            [__name__, "--header", policy, *ARGUMENTS, str(descriptor)],  # its pages would ask Amplitude's host
            {**theirs, **_ENVIRONMENT, **own, **variables},
            output,
            [descriptor],
        )

    def wait_until_ready(self) -> None:
        """Wait for its first answer; raises ExternalError if it ends, or does not answer in time."""
        if not self._child.answers(f"{self.base}/api/health", _START_SECONDS):
            hint = "Run again, or set PREFECT_API_URL to a server of yours."
            if self._child.poll() is None:
                raise ExternalError(f"The Prefect server did not answer within {_START_SECONDS} s.", hint)
            if self._database is not None:
                hint = (
                    f"Its database is {self._database}. If that is damaged, or of another release of Prefect, "
                    "restore a backup, or move it away: a new one is made. Nothing of MLflow is in it."
                )
            raise ExternalError(f"The Prefect server did not start: {_reason_of(self._output)}", hint)
        self._ready = True

    def on_unasked_end(self, act: Callable[[int], None]) -> None:
        """Call a function, in another thread, with the exit code of a server that ends before it is stopped."""

        def watch() -> None:
            code = self._child.wait()
            if not self._child.stopping:
                act(code)

        threading.Thread(target=watch, daemon=True).start()

    def stop(self) -> None:
        """End it; one that has answered may first write what it still has to."""
        stop([self._child], END_SECONDS if self._ready else 0)
        self.listener.close()


def main() -> None:
    """Run uvicorn's command in a child; its end would wait for threads of Prefect's server, which do not end."""
    from uvicorn.main import main as uvicorn

    try:
        uvicorn()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(int(end.code or 0))


def choose_database(settings: Settings) -> Path | None:
    """Let a server of our own keep its database in the data folder, unless Prefect's settings name a place.

    Prefect's default is one for all projects of a user: they would overwrite each other's deployments there, and
    a schedule would run the other's flows. Gives the file, if it is one.
    """
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if url == f"{_FILE}{expanded('~/.prefect/prefect.db')}":
        folder = own_folder(settings.data_dir.resolve() / "prefect")  # blocks hold secrets
        url = os.environ[_DATABASE] = f"{_FILE}{folder / 'prefect.db'}"
    place = url.removeprefix(_FILE).partition("?")[0]
    return Path(place) if url.startswith(_FILE) and place and ":memory:" not in url else None


def make_database(file: Path) -> None:
    """Make a database for Prefect's server, by Prefect's own command, unless it is there.

    Migrations of two servers that start at once would race, and a kill would leave half a database: so it is made
    under a lock, and appears whole. That takes long: the environment keeps an empty one.
    """
    kept = Path(sys.prefix, "share", "sentiflow", f"prefect-{prefect.__version__}.db")
    make_folder(file.parent)
    with brief_lock(file.with_name(f".{file.name}.lock"), "Another start of Prefect's server"):
        if file.exists():
            return
        for leftover in leftovers(file):
            leftover.unlink()
        if kept.exists():
            publish(file, lambda path: shutil.copyfile(kept, path))
            return
        publish(file, _migrate)
        with suppress(OSError):  # it may be read-only
            publish(kept, lambda path: shutil.copyfile(file, path))


def _migrate(file: Path) -> None:
    CONSOLE.print("Making Prefect's database, once ...")
    with tempfile.TemporaryFile() as output:
        command = ["prefect", "server", "database", "upgrade", "--yes"]
        child = Child(command, {**os.environ, _DATABASE: f"{_FILE}{file}"}, output)
        try:
            code = child.wait()
        finally:
            stop([child])
        if code:
            raise ExternalError(f"Prefect's database {file} could not be made: {_reason_of(output)}", "Run again.")
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint")  # what stands beside the file would be lost


def _reason_of(output: "IO[bytes]") -> str:
    """The last error that a child wrote, else its last line."""
    output.seek(0)
    text = output.read().decode(errors="replace").strip()
    errors = re.findall(r"^[\w.]+(?:Error|Exception): .+$", text, re.MULTILINE)
    return (errors or text.splitlines() or ["it gave no reason"])[-1]


def _use(base: str, login: str, pages: str) -> None:
    """Let Prefect's client here and in children use a server of this machine, and link to these pages."""
    os.environ |= {"PREFECT_API_URL": f"{base}/api", "PREFECT_API_AUTH_STRING": login}
    os.environ["PREFECT_SERVER_UI_API_URL"] = f"{pages}/api"
    ask_directly(_HOST)
    refresh_global_settings_context()


def _login() -> str:
    """Prefect's own setting for it, else a random one."""
    settings = get_current_settings()
    given = settings.server.api.auth_string or settings.api.auth_string
    return given.get_secret_value() if given else f"{OUR_USER}{secrets.token_urlsafe(24)}"


def use_running(settings: Settings) -> Server | None:
    """Use this data folder's `sentiflow schedule`, unless Prefect's settings name a server.

    Its note counts only while it holds its lock.
    """
    if get_current_settings().api.url:
        return None
    note = server_note(settings)
    with if_free(schedule_folder(settings) / "lock") as free:
        if free or not note.exists():
            return None
    try:
        server = Server(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # the schedule has ended meanwhile, or somebody else wrote it
        return None
    _use(server.ui, server.login, server.ui)
    _found.add(f"{server.ui}/api")
    return server


def server_note(settings: Settings) -> Path:
    """The file with address and login of the server of `sentiflow schedule`, while it runs."""
    return schedule_folder(settings) / "server.json"


def _configured() -> Server | None:
    """The server that Prefect's settings name, if they name one; it answers."""
    settings = get_current_settings()
    if not (url := settings.api.url):
        return None
    with get_client(sync_client=True) as client:
        try:
            if not (failure := client.api_healthcheck()):
                client.api_version()
        except (ValueError, PrefectHTTPStatusError) as err:
            if isinstance(err, PrefectHTTPStatusError) and err.response.status_code != 404:
                raise  # such as a refused login
            failure = ValueError("what answers is no Prefect server")
        if failure:
            problem = f"The Prefect server at {redact(url)} does not answer: {failure}"
            raise ExternalError(problem, f"Start it, or {to_choose_another()} to use one on this machine.")
    return Server(settings.ui_url or _pages(url))


def to_choose_another() -> str:
    """What to do to use another server than that of Prefect's settings, after an "or"."""
    another = "unset PREFECT_API_URL, or choose another profile (prefect profile use ephemeral)"
    return another if (url := lasting_api_url()) and url not in _found else "run again"


def _pages(api_url: str) -> str:
    return without_login(api_url).rstrip("/").removesuffix("/api")


def flow_run_url(flow_run_id: str) -> str:
    return page_url(f"runs/flow-run/{flow_run_id}")


def page_url(path: str) -> str:
    """Address of one of Prefect's newer pages: the older ones lose it behind the login."""
    settings = get_current_settings()
    named = settings.ui_url if "ui_url" in settings.model_fields_set else None  # else it follows the API's address
    base = _pages(named or settings.server.ui.api_url or settings.api.url or "")
    return f"{base or f'http://{_HOST}:{load_settings().prefect_port}'}/v2/{path}"


if __name__ == "__main__":
    main()
