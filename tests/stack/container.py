"""A service of the compose file as a process: what it runs, with which variables, in which folders."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from sentiflow.files import publish
from tests.stack.compose import Image, Place, read_image
from tests.stack.processes import alive, is_of, processes_of

HERE = Path(__file__).parent
DATABASE_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass(frozen=True)
class Container:
    """One service.

    Attributes:
        service: its part of the compose file.
        project: the folder with the Dockerfile.
        root: state, volumes and logs of all.
        ports: see ``Place``.
        secrets: by name, their files.
    """

    name: str
    service: dict[str, Any]
    project: Path
    root: Path
    ports: Mapping[str, Mapping[int, int]]
    secrets: Mapping[str, Path]

    @property
    def is_one_shot(self) -> bool:
        return self.service.get("restart") is None

    @property
    def _is_database(self) -> bool:
        return self.name == "postgres"

    @property
    def parts(self) -> str:
        """What a container is made of: when it differs, Compose makes it again."""
        told = ("command", "entrypoint", "environment", "secrets")
        return json.dumps([self.service.get(name) for name in told], sort_keys=True)

    def made_of(self) -> str | None:
        """The parts of the process that was started last."""
        file = self._folder() / "made-of.json"
        return file.read_text() if file.is_file() else None

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it in the background."""
        as_user: dict[str, Any] = {}
        if self._is_database and os.geteuid() == 0:  # it refuses to run as root
            as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._lay_out_secrets()
        self.log_file.parent.mkdir(exist_ok=True)
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                self._command(None), env=self.environment(), cwd=self._folder(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user,
            )  # fmt: skip
        # Popen returns when the old environment is gone; the new one is there a moment later.
        until = time.monotonic() + 10
        while alive(process.pid) and not is_of(process.pid, self._mark) and time.monotonic() < until:
            time.sleep(0.01)
        (self._folder() / "made-of.json").write_text(self.parts)
        publish(self._folder() / "pid", lambda path: path.write_text(str(process.pid)))  # others read it
        return process

    def run(self, arguments: list[str]) -> int:
        """Run it in the foreground with other arguments."""
        self._lay_out_secrets()
        command = self._command(arguments)
        return subprocess.run(command, env=self.environment(), cwd=self._folder(), check=False).returncode

    def healthy(self) -> bool:
        """Run the health check, as it is written."""
        check = self.service.get("healthcheck", {}).get("test")
        words = check[1:] if check else self._image.health
        assert words, f"{self.name} has no health check"
        in_shell = ["sh", "-c"] if check and check[0] == "CMD-SHELL" else []
        command = [*in_shell, *(self._place.argument(word) for word in words)]
        done = subprocess.run(
            command, env=self.environment(), cwd=self._folder(), capture_output=True, check=False
        )
        return done.returncode == 0

    def running(self) -> bool:
        """Whether the main process lives."""
        pid = self._pid()
        return pid is not None and alive(pid) and is_of(pid, self._mark)

    def stop(self, seconds: float = 60) -> None:
        """Signal the main process, wait, then kill whatever is left."""
        pid = self._pid()
        if pid and self.running():
            os.kill(pid, signal.Signals[self.service.get("stop_signal", "SIGTERM")])
            until = time.monotonic() + seconds
            while alive(pid) and time.monotonic() < until:
                time.sleep(0.1)
        self.kill()

    def kill(self) -> None:
        """End all its processes at once."""
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self._processes():
            time.sleep(0.05)

    @property
    def log_file(self) -> Path:
        return self.root / "logs" / f"{self.name}.log"

    def log(self) -> str:
        """The end of what it wrote."""
        return self.log_file.read_text(errors="replace")[-4_000:] if self.log_file.is_file() else ""

    @property
    def result(self) -> Path:
        """The exit code of a one-shot, once it ended."""
        return self._folder() / "exit-code"

    def _command(self, arguments: list[str] | None) -> list[str]:
        words = self.service.get("command") or self._image.command if arguments is None else arguments
        command = [self._place.argument(word) for word in [*(self.service.get("entrypoint") or []), *words]]
        if not self._is_database:
            return [*self._confinement(), *command]
        data, sockets = self._volume("postgres"), self._folder("sockets")
        if os.geteuid() == 0:
            for folder in (data, sockets):
                shutil.chown(folder, "postgres", "postgres")
                folder.chmod(0o700)
        script = self._folders["/docker-entrypoint-initdb.d/databases.sh"]
        port = str(self.ports[self.name][5432])
        return ["sh", str(HERE / "image" / "postgres.sh"), str(data), str(sockets), str(script), port, *command]

    def _confinement(self) -> list[str]:
        """What makes everything but its volumes and /tmp read-only, where this machine lets a test do that."""
        if not (self.service.get("read_only") and _can_confine()):
            return []
        volumes = [volume["target"] for volume in self.service.get("volumes", []) if not volume.get("read_only")]
        folders = [str(self._folders[path]) for path in ("/tmp", *volumes)]
        return [
            "unshare",
            "--mount",
            "--propagation=private",
            "sh",
            str(HERE / "image/confined.sh"),
            *folders,
            "--",
        ]

    def _lay_out_secrets(self) -> None:
        folder = self._folders["/run/secrets"]
        for secret in self.service.get("secrets", []):
            file = folder / Path(secret.get("target", secret["source"])).name
            file.unlink(missing_ok=True)
            shutil.copy(self.secrets[secret["source"]], file)

    def environment(self) -> dict[str, str]:
        """Its own variables, rewritten, and those of a machine."""
        given = {
            name: value for name, value in (self.service.get("environment") or {}).items() if value is not None
        }
        own_programs = HERE / "image" / "programs"
        programs = [Path(sys.executable).parent, *DATABASE_PROGRAMS[-1:], own_programs, "/usr/bin", "/bin"]
        own = {
            **self._place.environment({**self._image.environment, **given}),
            "PATH": os.pathsep.join(map(str, programs)),
            "HOME": str(self._folder()),
            "TMPDIR": str(self._folders["/tmp"]),
            "LANG": "C.UTF-8",
            "STACK_CONTAINER": f"{self.root}/{self.name}",
        }
        small = self.service.get("build", {}).get("target") == "serve"
        return own | ({"PYTHONPATH": str(HERE / "image" / "serve")} if small else {})

    @cached_property
    def _image(self) -> Image:
        build = self.service.get("build")
        return read_image(self.project / "Dockerfile", build["target"]) if build else Image({}, [], None)

    @property
    def _place(self) -> Place:
        return Place(self.name, self.ports, self._folders)

    @property
    def _folders(self) -> dict[str, Path]:
        """By path in the container; what is no volume is the container's own."""
        own = {path: self._folder(path[1:]) for path in ("/tmp", "/run/secrets")}
        volumes = self.service.get("volumes", [])
        return own | {
            volume["target"]: (
                Path(volume["source"]) if volume["type"] == "bind" else self._volume(volume["source"])
            )
            for volume in volumes
        }

    def _volume(self, name: str) -> Path:
        folder = self.root / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _folder(self, below: str = "") -> Path:
        folder = self.root / "containers" / self.name / below
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _pid(self) -> int | None:
        file = self._folder() / "pid"
        return int(file.read_text()) if file.is_file() else None

    def _processes(self) -> list[int]:
        return processes_of(self._mark)

    @property
    def _mark(self) -> str:
        return f"{self.root}/{self.name}\0"


@cache
def _can_confine() -> bool:
    """Whether this is root in a container or machine that may mount."""
    command = shlex.split("unshare --mount --propagation=private mount -o remount,bind,ro /")
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
