"""Another user's folder: what is imported, run or used of it leaves a mark, what is opened is seen."""

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from importlib.metadata import packages_distributions
from pathlib import Path

from tests import servers

# Of Python, of each library that is installed, and ours.
MODULES = {name for name in (*sys.stdlib_module_names, *packages_distributions()) if name.isidentifier()} | {
    "flows", "tasks", "sentiflow", "sitecustomize", "usercustomize", "kaleido",
}  # fmt: skip
_LOGGING = "version: 1\nformatters: {{x: {{(): os.system, command: touch {}}}}}\nhandlers: {{}}\nloggers: {{}}\n"
_OPENED, _EVENT = 0x20, struct.Struct("iIII")


@dataclass
class Hostile:
    """The folder, and a file for each mark beside it; ``asked`` are requests to the server that its files name."""

    folder: Path
    marks: Path
    asked: list[str] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)

    @property
    def reached(self) -> list[str]:
        """All that happened: marks, requests and files that were opened; empty if the folder was left alone."""
        return sorted({*(path.name for path in self.marks.iterdir()), *self.asked, *self.opened})


@contextmanager
def hostile(root: Path, *own: str) -> Iterator[Hostile]:
    """Make the folder, and watch it until the block ends; files in it that the user owns may be opened."""
    made = Hostile(root / "theirs", root / "marks")
    made.marks.mkdir(parents=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(f"{self.command} {self.path}")
            self.send_error(500)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with servers.http(Handler) as port:
        _fill(made.folder, made.marks, f"http://127.0.0.1:{port}")
        there = {path.name for path in made.folder.iterdir()}
        libc = ctypes.CDLL(None, use_errno=True)
        events = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(events, os.fsencode(made.folder), _OPENED) > 0
        try:
            yield made
            made.opened |= _names(events) - set(own)
        finally:
            os.close(events)
        new = {path.name for path in made.folder.iterdir()} - there - set(own)
        assert not new, new


def _names(events: int) -> set[str]:
    """Of what was opened; a listing of the folder itself counts as ``.``."""
    found = set()
    while True:
        try:
            data = os.read(events, 1 << 16)
        except BlockingIOError:
            return found
        while data:
            *_, length = _EVENT.unpack_from(data)
            found.add(os.fsdecode(data[_EVENT.size :][:length].rstrip(b"\0")) or ".")
            data = data[_EVENT.size + length :]


def _fill(folder: Path, marks: Path, address: str) -> None:
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(marks / name)!r}, 'w').close()\n")
    (folder / "logging.yml").write_text(_LOGGING.format(marks / "logging.yml"))
    (folder / "profiles.toml").write_text(f'active = "x"\n[profiles.x]\nPREFECT_API_URL = "{address}/profiles"\n')
    prefect = f'[{{}}logging]\nconfig_path = "{folder}/logging.yml"\n[{{}}api]\nurl = "{address}/{{}}"\n'
    (folder / "prefect.toml").write_text(prefect.format("", "", "prefect.toml"))
    (folder / "pyproject.toml").write_text(prefect.format("tool.prefect.", "tool.prefect.", "pyproject.toml"))
    (folder / ".env").write_text(
        f"PREFECT_LOGGING_SETTINGS_PATH={folder}/logging.yml\nPREFECT_API_URL={address}/env\n"
        f"PREFECT_PROFILES_PATH={folder}/profiles.toml\nMLFLOW_TRACKING_URI={address}/mlflow\n"
        f"MLFLOW_REGISTRY_URI={address}/mlflow\nNUMBA_CACHE_DIR={marks}/numba-of-env\n"
    )
    (folder / ".numba_config.yaml").write_text(f"cache_dir: {marks}/numba\n")
    (folder / "matplotlibrc").write_text("backend: no\n")
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = .\n")
    for name in ("logging.conf", "dask.yaml", "distributed.yaml", "gunicorn.conf", "setup.cfg", ".pythonrc"):
        (folder / name).write_text("[x\n")
    steps = f"prefect.deployments.steps.run_shell_script: {{script: touch {marks}/prefect.yaml}}"
    (folder / "prefect.yaml").write_text(f"pull: [{{{steps}}}]\n")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    git = ["git", "-C", folder, "config", "core.fsmonitor", f"touch {marks}/fsmonitor"]
    subprocess.run(git, check=True)
