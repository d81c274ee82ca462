import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentiflow.batch.writers import output_lock
from sentiflow.errors import ExternalError

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom sentiflow.batch.writers import output_lock\n"
    "with output_lock(Path(sys.argv[1])):\n"
    "    sys.stdout.write('held'); sys.stdout.flush(); sys.stdin.read()\n"
)


def test_a_second_process_is_told_who_holds_the_output_until_that_one_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "made" / "out.parquet"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.read(4) == b"held"
        with (
            pytest.raises(ExternalError, match=f"is running: scoring, process {other.pid} on "),
            output_lock(output),
        ):
            pass
        with output_lock(output.with_name("another.parquet")):
            pass
        other.kill()
        other.wait()
        with output_lock(output):
            assert f"process {os.getpid()} on " in (output.parent / ".out.parquet.lock").read_text()
    assert list(output.parent.iterdir()) == []
