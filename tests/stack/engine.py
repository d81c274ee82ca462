"""A stand-in for a container engine: ``docker compose`` with plain processes.

Started through ``image/docker`` by the project's own Makefile. Its state is a folder, so that each command is a
process of its own, as with the real one. Where this machine lets a test arrange that, a service writes only to its
volumes and /tmp. Not imitated: images, users, networks, limits, replicas and restarts after a crash.
"""

import argparse
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.servers import free_port
from tests.stack.compose import read_config
from tests.stack.container import Container

PATIENCE = 150.0  # seconds for a service to be healthy, or done


class Engine:
    """The services of one project.

    Args:
        project: the folder with docker-compose.yml.
        root: state, volumes and logs.
        options: of Compose, before the command.
    """

    def __init__(self, project: Path, root: Path, options: list[str]) -> None:
        config = read_config(project, options)
        self.services: dict[str, Any] = config["services"]
        ports = choose_ports(root / "ports.json", self.services)
        secrets = {name: Path(secret["file"]) for name, secret in config["secrets"].items()}
        self.containers = {
            name: Container(name, service, project, root, ports, secrets)
            for name, service in self.services.items()
        }
        self._failed: list[str] = []
        """What went wrong first; the others then only gave up."""
        self._begun: set[str] = set()
        self._to_come: set[str] = set()
        """Whose turn was not yet: what runs of them may be about to be replaced."""

    def up(self, names: list[str], *, anew: bool = False) -> None:
        """Start what is not running, each after what it waits for; return when all are healthy or done."""
        wanted = [name for name in self.services if not names or name in names]
        for name in wanted:
            if anew:
                self.containers[name].stop()
            if not self.containers[name].running():
                self.containers[name].result.unlink(missing_ok=True)
        self._to_come = set(wanted)
        with ThreadPoolExecutor(len(wanted) or 1) as pool:
            for future in [pool.submit(self._start_in_turn, self.containers[name]) for name in wanted]:
                future.result()

    def run(self, name: str, arguments: list[str]) -> int:
        """Run a service in the foreground with other arguments, after what it needs."""
        self.up(list(self.services[name].get("depends_on", {})))
        return self.containers[name].run(arguments or self.services[name].get("command", []))

    def _start_in_turn(self, container: Container) -> None:
        for before, how in container.service.get("depends_on", {}).items():
            if before in self.containers or how["required"]:
                self._wait(self.containers[before], how["condition"])
        if container.running() and container.made_of() != container.parts:
            container.stop()
        if not container.running():
            process = container.start()
            self._begun.add(container.name)
            if container.is_one_shot:
                part = container.result.with_suffix(".part")
                part.write_text(str(process.wait(PATIENCE)))
                part.rename(container.result)  # whole at once: others read it meanwhile
        self._to_come.discard(container.name)
        self._wait(container, "service_completed_successfully" if container.is_one_shot else "service_healthy")

    def _wait(self, container: Container, condition: str) -> None:
        until = time.monotonic() + 2 * PATIENCE
        holds = {"service_healthy": _is_healthy, "service_completed_successfully": _has_completed}[condition]
        while True:
            # In this order: what ends well between the two looks has not failed.
            begun = container.name in self._begun
            ended = container.result.is_file() if container.is_one_shot else _is_gone(container)
            if container.name not in self._to_come and holds(container):
                return
            if self._failed or (begun and ended) or time.monotonic() > until:
                self._failed.append(f"{container.name}: not {condition}\n{container.log()}")
                raise SystemExit(self._failed[0])
            time.sleep(1)


def _is_gone(container: Container) -> bool:
    """Whether the main process has ended; for a moment, while it executes another program, it only looks so."""
    if container.running():
        return False
    time.sleep(0.5)
    return not container.running()


def _is_healthy(container: Container) -> bool:
    return container.running() and container.healthy()


def _has_completed(container: Container) -> bool:
    return container.result.is_file() and container.result.read_text() == "0"


def choose_ports(file: Path, services: dict[str, Any]) -> dict[str, dict[int, int]]:
    """The published port of each, else a free one that stays the same."""
    known: dict[str, dict[str, int]] = json.loads(file.read_text()) if file.is_file() else {}
    for name, service in services.items():
        ports = known.setdefault(name, {})
        checked = re.findall(r"127\.0\.0\.1:(\d+)", json.dumps(service.get("healthcheck", {})))
        for inside in [*service.get("expose", []), *checked]:
            ports.setdefault(str(inside), free_port({here for each in known.values() for here in each.values()}))
        ports |= {str(port["target"]): int(port["published"]) for port in service.get("ports", [])}
    file.write_text(json.dumps(known))
    return {name: {int(inside): here for inside, here in ports.items()} for name, ports in known.items()}


def main() -> int:
    """``docker compose [--env-file FILE]... [--profile NAME]... COMMAND ...``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("compose", choices=["compose"])
    parser.add_argument("--env-file", action="append", default=[])
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("command", choices=["up", "run", "ps", "stop", "kill", "down"])
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    names = [word for word in given.rest if not word.startswith("-")]
    profiles = given.profile + (["tools"] if given.command == "run" else [])  # as `run` does with its service
    options = [f"--env-file={file}" for file in given.env_file] + [f"--profile={name}" for name in profiles]
    engine = Engine(Path.cwd(), Path(os.environ["STACK_ROOT"]), options)
    if given.command == "run":
        return engine.run(names[0], names[1:])
    if given.command == "up":
        engine.up(names, anew="--force-recreate" in given.rest)
    for name in {"stop": names, "kill": names, "down": reversed(engine.services)}.get(given.command, ()):
        container = engine.containers[name]
        (container.kill if given.command == "kill" else container.stop)()
    if given.command == "ps":
        sys.stdout.write("".join(f"{name}\n" for name, each in engine.containers.items() if each.running()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
