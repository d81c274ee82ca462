"""The compose file and the Dockerfile, read for a machine without a container engine.

Each service becomes a plain process: its own command, environment and health check, in which only addresses, ports
and paths are other ones. ``Place`` says how they are rewritten; nothing else is.
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Config = dict[str, Any]


def find_compose() -> list[str] | None:
    """Docker's plugin, or Compose's own program; its first release reads other files."""
    for program in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(program[0]):
            done = subprocess.run([*program, "version", "--short"], capture_output=True, text=True, check=False)
            if re.match(r"v?([2-9]|[1-9]\d)", done.stdout):
                return program
    return None


def read_config(project: Path, options: list[str]) -> Config:
    """What Compose itself makes of the file: interpolated, merged, only the services of the profiles."""
    program = find_compose()
    assert program is not None
    command = [*program, *options, "config", "--format", "json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    config: Config = json.loads(done.stdout.replace("$$", "$"))
    return config


@dataclass(frozen=True)
class Image:
    """What a stage of the Dockerfile gives a container."""

    environment: dict[str, str]
    command: list[str]
    health: list[str] | None


def read_image(dockerfile: Path, target: str) -> Image:
    """A stage with what it has from those before it."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.M))
    stages: dict[str, Image] = {}
    name = ""
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.split()
            stages[name] = stages.get(base, Image({}, [], None))
        elif word == "ENV":
            pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
            stages[name] = Image({**stages[name].environment, **pairs}, stages[name].command, stages[name].health)
        elif word == "CMD":
            stages[name] = Image(stages[name].environment, json.loads(rest), stages[name].health)
        elif word == "HEALTHCHECK":
            health = None if rest == "NONE" else json.loads(rest[rest.index("CMD") + 3 :])
            stages[name] = Image(stages[name].environment, stages[name].command, health)
    return stages[target]


@dataclass(frozen=True)
class Place:
    """Where a container's names, ports and folders are on this machine.

    Attributes:
        service: whose container.
        ports: by service, the container's port and the one it has here.
        folders: by path in the container, the path here.
    """

    service: str
    ports: Mapping[str, Mapping[int, int]]
    folders: Mapping[str, Path]

    def argument(self, text: str) -> str:
        """Rewrite a part of a command or of a health check."""
        for inside, here in self.ports[self.service].items():
            text = re.sub(rf"(?<![\w.]){inside}(?![\w.])", str(here), text)
        return self._common(text)

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Rewrite the variables: hosts, the ports that stand beside them, addresses, paths."""
        values = {name: self._common(value) for name, value in variables.items()}
        for name, value in variables.items():
            if name.endswith("_PORT") and variables.get(name.removesuffix("PORT") + "HOST") not in self.ports:
                values[name] = self.argument(value)
            if name.endswith("HOST") and value in self.ports:
                beside = name.removesuffix("HOST") + "PORT"
                values[name] = "127.0.0.1"
                values[beside] = str(self.ports[value][int(variables[beside])])
        return values

    def _common(self, text: str) -> str:
        for service, ports in self.ports.items():
            for inside, here in ports.items():
                text = re.sub(rf"(?<![\w.-]){service}:{inside}(?!\d)", f"127.0.0.1:{here}", text)
        inside = "|".join(re.escape(path) for path in sorted(self.folders, key=len, reverse=True))
        text = re.sub(rf"(?<![\w./])({inside})(?=[/'\" ,;)]|$)", lambda found: str(self.folders[found[1]]), text)
        return text.replace("0.0.0.0", "127.0.0.1")
