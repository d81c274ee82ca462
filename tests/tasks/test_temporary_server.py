import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.temporary_server import end_orphans

SLEEP = "import time; time.sleep(60)"


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("owner_lives", "command", "ends"),
    [
        (False, "prefect.server.api.server:create_app", True),
        (True, "prefect.server.api.server:create_app", False),
        (False, "something else that took the number", False),
    ],
)
def test_only_a_server_whose_owner_is_gone_is_ended(
    tmp_path: Path, owner_lives: bool, command: str, ends: bool
) -> None:
    server = subprocess.Popen([sys.executable, "-c", SLEEP, command])
    try:
        note = tmp_path / str(os.getpid() if owner_lives else dead_process())
        note.write_text(str(server.pid))
        assert end_orphans(tmp_path) == ([server.pid] if ends else [])
        if ends:
            assert server.wait(10) == -signal.SIGTERM
        else:
            assert server.poll() is None
        assert note.exists() == owner_lives
    finally:
        server.kill()
        server.wait()
