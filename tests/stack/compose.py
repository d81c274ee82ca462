"""The compose file as Compose reads it, and its services as plain processes, on a PostgreSQL of their own.

A service runs its own command with its own variables, secrets and health check. Only addresses, ports and folders
are others; images, networks, users and limits are not there.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.polling import until
from tests.postgres import postgres
from tests.servers import free_port
from tests.world import ROOT

Config = dict[str, Any]
FILES = ("docker-compose.yml", "Dockerfile", "Makefile", "stack")  # what a person copies to the team's machine
FOLDERS = ("srv", "data", "texts", "backups", "dask", "tmp/pages")
INSIDE = {  # which setting of a test says where a port of the containers is
    "5432": "POSTGRES_PORT", "5000": "MLFLOW_PORT", "4200": "PREFECT_PORT", "8000": "API_PORT",
    "8080": "WORKER_PORT", "80": "HTTP_PORT", "443": "HTTPS_PORT", "2080": "HEALTH_PORT",
}  # fmt: skip
HEALTH_OF_IMAGE = re.compile(r"^HEALTHCHECK --.*\\\n *CMD (\[.*\])$", re.M)


def find_compose() -> list[str]:
    """Docker's plugin, or Compose's own program; its first release reads other files."""
    for program in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(program[0]):
            done = subprocess.run([*program, "version", "--short"], capture_output=True, text=True, check=False)
            if re.match(r"v?([2-9]|[1-9]\d)", done.stdout):
                return program
    pytest.skip("needs Compose 2 (Debian: apt-get install docker-compose); CI installs it")


def read_config(project: Path, options: list[str]) -> Config:
    """What Compose itself makes of the file: interpolated, merged, only the services of the profiles."""
    command = [*find_compose(), *options, "config", "--format", "json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    config: Config = json.loads(done.stdout.replace("$$", "$"))
    return config


def make_env(folder: Path) -> Path:
    """What `make env` writes: a file of settings, and a folder of passwords beside it."""
    file = folder / ".env"
    subprocess.run(["sh", ROOT / "stack" / "env.sh", file, folder / "secrets"], check=True, capture_output=True)
    return file


class Stack:
    """A project folder with its ``.env``, and processes of its services."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = dict(line.split("=", 1) for line in (root / ".env").read_text().splitlines())
        self._config = read_config(root, ["--env-file=.env", "--profile=*"])
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def port(self, name: str) -> str:
        return self.settings[f"{name}_PORT"]

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port(name)}"

    def secret(self, name: str) -> str:
        return (self.root / "secrets" / name).read_text()

    def folder(self, name: str) -> Path:
        """Where a folder of the containers is."""
        return self.root / "files" / name

    def log(self, name: str = "worker") -> str:
        return (self.root / f"{name}.log").read_text(errors="replace")[-5_000:]

    def run(self, name: str, *words: str, told: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a service in the foreground, with other words than its command's or with its own."""
        self._lay_out_secrets(name)
        return subprocess.run(
            self._command(name, list(words)), env=self._environment(name), cwd=self.root, input=told,
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def by_hand(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the project, whose ``docker compose run SERVICE ...`` is a process of that service."""
        docker = self.root / "programs" / "docker"
        docker.parent.mkdir(exist_ok=True)
        docker.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.stack.compose {self.root} "$@"\n')
        docker.chmod(0o755)
        path = os.pathsep.join([str(docker.parent), os.environ["PATH"]])
        return subprocess.run(
            words, cwd=self.root, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}, capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip

    def start(self, name: str) -> None:
        """Start a service; return when its health check says so, or when it has ended well."""
        self._lay_out_secrets(name)
        with (self.root / f"{name}.log").open("ab") as log:
            made = subprocess.Popen(
                self._command(name, []), env=self._environment(name), cwd=self.root, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._running[name] = made
        if self._config["services"][name].get("restart"):
            until(lambda: self._is_healthy(name), f"{name} to be healthy", 150, lambda: self.log(name), made)
        else:
            assert made.wait(150) == 0, self.log(name)

    def stop(self, name: str) -> None:
        """Ask a service to end; kill what is left of it."""
        made = self._running.pop(name)
        made.terminate()
        with suppress(subprocess.TimeoutExpired):
            made.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(made.pid, signal.SIGKILL)
        made.wait()

    def stop_all(self) -> None:
        for name in [*self._running][::-1]:
            self.stop(name)

    def _is_healthy(self, name: str) -> bool:
        service = self._config["services"][name]
        check = service.get("healthcheck", {}).get(
            "test", ["CMD", *json.loads(HEALTH_OF_IMAGE.findall((ROOT / "Dockerfile").read_text())[0])]
        )
        words = [self._here(name, word) for word in check[1:]]
        done = subprocess.run(words, env=self._environment(name), cwd=self.root, capture_output=True, check=False)
        return done.returncode == 0

    def _command(self, name: str, words: list[str]) -> list[str]:
        service = self._config["services"][name]
        return [
            self._here(name, word) for word in [*(service.get("entrypoint") or []), *(words or service["command"])]
        ]

    def _lay_out_secrets(self, name: str) -> None:
        folder = self.root / f"secrets-of-{name}"
        folder.mkdir(exist_ok=True)
        for secret in self._config["services"][name].get("secrets", []):
            file = folder / Path(secret.get("target", secret["source"])).name
            file.unlink(missing_ok=True)
            shutil.copy(self.root / "secrets" / secret["source"], file)

    def _environment(self, name: str) -> dict[str, str]:
        service = self._config["services"][name]
        given = {key: value for key, value in (service.get("environment") or {}).items() if value is not None}
        programs = [Path(sys.executable).parent, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]]
        own = {
            "PATH": os.pathsep.join([*map(str, programs), "/usr/bin", "/bin"]), "LANG": "C.UTF-8",
            "HOME": str(self.root / "home"), "PREFECT_HOME": str(self.root / "home"),
            "SENTIFLOW_DATA_DIR": str(self.folder("data")), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(ROOT),  # as in the image: workers find the flows
        }  # fmt: skip
        if service.get("build", {}).get("target") == "serve":
            own["PYTHONPATH"] = str(Path(__file__).parent / "serve")
        here = {
            key: "127.0.0.1" if key.endswith("HOST") else self._here(name, value) for key, value in given.items()
        }
        return own | here | ({"OWNER": f"{os.geteuid()}:{os.getegid()}"} if "OWNER" in here else {})

    def _here(self, name: str, text: str) -> str:
        """A word of a command or a value, with the addresses, ports and folders of this machine."""
        if text in INSIDE:
            return self.settings[INSIDE[text]]
        text = re.sub(
            r"(?<![\w.-])(?:mlflow|prefect|api|0\.0\.0\.0|127\.0\.0\.1):(\d+)(?!\d)",
            lambda found: f"127.0.0.1:{self.settings[INSIDE[found[1]]] if found[1] in INSIDE else found[1]}", text,
        )  # fmt: skip
        text = re.sub(r"(?<![\w./])/run/secrets(?!\w)", str(self.root / f"secrets-of-{name}"), text)
        text = re.sub(rf"(?<![\w./])/(stack|{'|'.join(FOLDERS)})(?!\w)", rf"{self.root}/files/\1", text)
        return "127.0.0.1" if text == "0.0.0.0" else text


@contextmanager
def stack(root: Path, **settings: str) -> Iterator[Stack]:
    """A project with an empty database, no service started; whatever runs at the end is stopped.

    A setting may name a port: ``https://localhost:{HTTPS_PORT}``.
    """
    find_compose()
    for name in FILES:
        (root / name).symlink_to(ROOT / name)
    for name in (*FOLDERS, "srv/mlflow", "srv/prefect", "../home"):
        (root / "files" / name).mkdir(parents=True, exist_ok=True)
    (root / "files" / "stack").symlink_to(ROOT / "stack")
    with ExitStack() as closing:
        # Every start of pytest closes its own folders to PostgreSQL's user.
        folder = Path(closing.enter_context(TemporaryDirectory(prefix="stack-")))
        database = closing.enter_context(postgres(folder))
        ports = {name: str(free_port()) for name in INSIDE.values()} | {
            "POSTGRES_PORT": str(urlsplit(database).port)
        }
        lines = [f"{name}={value.format(**ports)}\n" for name, value in {**ports, **settings}.items()]
        (root / ".env").write_text("".join(lines))
        make_env(root)
        made = Stack(root)
        closing.callback(made.stop_all)
        variables = made._environment("settle") | {
            "POSTGRES_USER": "postgres", "POSTGRES_PASSWORD_FILE": str(root / "secrets" / "POSTGRES_PASSWORD"),
        }  # fmt: skip
        subprocess.run(["sh", ROOT / "stack" / "databases.sh"], env=variables, check=True, capture_output=True)
        yield made


if __name__ == "__main__":  # `docker compose --env-file FILE [run --rm -T SERVICE WORD...]`, of by_hand
    folder, *given = sys.argv[1:]
    if "run" in given:
        service, *rest = given[given.index("run") + 3 :]
        ended = Stack(Path(folder)).run(service, *rest, told="" if sys.stdin.isatty() else sys.stdin.read())
        sys.stdout.write(ended.stdout)
        sys.stderr.write(ended.stderr)
        sys.exit(ended.returncode)
