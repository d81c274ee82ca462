"""``sentiflow schedule`` as a process, with a Prefect server of its own."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.polling import until
from tests.world import World, command


@dataclass(frozen=True)
class Home:
    """A world, the port of its Prefect server, and further variables of its commands."""

    world: World
    port: int
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PREFECT_API_URL": "",  # as an .env file may leave it: none at all
            "SENTIFLOW_PREFECT_PORT": str(self.port),
            "SENTIFLOW_GATE_MIN_ACCURACY": "0.999",
            # How long a run waits before it looks again whether the one before it has ended; 30 s by default.
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
            **self.more,
        }

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.world.run(*arguments, timeout=600, **self.variables)

    def api(self) -> httpx.Client:
        """A client that knows the server's login, as the commands of the same user do."""
        note = json.loads((self.world.root / "data" / "schedule" / "server.json").read_text())
        user, _, password = note["login"].partition(":")
        base = f"http://127.0.0.1:{self.port}/api"
        return httpx.Client(base_url=base, auth=(user, password), trust_env=False, timeout=30)

    def deployment(self, flow: str) -> dict[str, object]:
        found: dict[str, object] = self._asked("GET", f"/deployments/name/{flow}/{flow}").json()
        return found

    def flow_runs(self, flow: str) -> list[dict[str, object]]:
        """The runs of a deployment, in the order of their time."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found: list[dict[str, object]] = self._asked("POST", "/flow_runs/filter", json=wanted).json()
        return found

    def pause(self, flow: str) -> None:
        """Pause a deployment's schedule, as the switch in the UI does."""
        found: Any = self.deployment(flow)
        path = f"/deployments/{found['id']}/schedules/{found['schedules'][0]['id']}"
        self._asked("PATCH", path, json={"active": False})

    def _asked(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The server's answer; while it says 503, as its database is locked, it is asked again."""
        with self.api() as api:
            answer = until(
                lambda: (got := api.request(method, path, **options)).status_code != 503 and got, "an answer"
            )
        return answer.raise_for_status()


class Scheduled:
    """The running command, with ``SENTIFLOW_SCHEDULE_...`` and the recipe of trainings.

    Args:
        program: that runs the command line, in place of the installed one.
    """

    def __init__(
        self,
        home: Home,
        *arguments: str,
        program: Sequence[str] = (),
        config: Mapping[str, object] | None = None,
        **settings: str,
    ) -> None:
        variables = {f"SENTIFLOW_SCHEDULE_{name.upper()}": value for name, value in settings.items()}
        if config is not None:
            variables["SENTIFLOW_SCHEDULE_PARAMETERS"] = json.dumps({"train": {"config": config}})
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*(program or [command()]), "schedule", *arguments],
            env=home.world.environment(**home.variables, **variables),
            cwd=home.world.root,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or []:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def until_says(self, pattern: str) -> str:
        """Wait for a line; gives it."""
        return until(
            lambda: next((line for line in list(self.lines) if re.search(pattern, line)), ""),
            f"{pattern!r} to be said",
            told=lambda: "\n".join(self.lines[-60:]),
        )

    def ends(self, number: signal.Signals) -> int:
        """Send a signal as a terminal or a service manager does; gives the exit code."""
        (os.kill if number == signal.SIGTERM else os.killpg)(self.process.pid, number)
        code = self.process.wait(90)
        self._reader.join(10)
        return code
