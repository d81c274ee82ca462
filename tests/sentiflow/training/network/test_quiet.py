"""What TensorFlow prints while it is loaded."""

import subprocess
import sys

import pytest

from tests.world import ROOT


def stderr_of(code: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False, timeout=120)
    return done.stderr


@pytest.mark.story
def test_a_load_prints_nothing() -> None:
    assert stderr_of("import sentiflow.training.network, keras; keras.ops.ones(3)") == ""


def test_a_load_that_ends_the_process_shows_its_last_line() -> None:
    """Red if a processor without the instructions that TensorFlow needs gave no reason."""
    lines = r"I0000 00:00:1 a note\nF0000 00:00:1 it lacks AVX\n"
    ending = f"import ctypes, os; ctypes.CDLL = lambda _: (os.write(2, b'{lines}'), os.abort())"
    assert stderr_of(f"{ending}; import sentiflow.training.network") == "F0000 00:00:1 it lacks AVX\n"
