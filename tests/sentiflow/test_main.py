"""The command as a module, `python -m sentiflow`, which is what the console script calls, too."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import World

ENTRY = "import sys; sys.argv[0] = 'sentiflow'; from sentiflow.__main__ import main; main()"


def start(world: World, *arguments: str, limit: int = 0, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command, with at most so many bytes of address space."""
    limited = ["prlimit", f"--as={limit}"] if limit else []
    return subprocess.run(
        [*limited, sys.executable, "-P", "-c", ENTRY, *arguments], env=world.environment(**variables),
        cwd=world.root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("theirs", ["tasks.py", "flows/__init__.py"])
def test_packages_of_our_names_in_another_project_are_not_run_and_not_hidden(
    world: World, tmp_path: Path, theirs: str
) -> None:
    file = tmp_path / "their project" / theirs
    file.parent.mkdir(parents=True)
    file.write_text("print('theirs was run')\n")
    variables = {"PYTHONPATH": str(tmp_path / "their project")}
    done = start(world, "runs", **variables)
    assert (done.returncode, "theirs" in done.stdout + done.stderr) == (0, False), done.stderr
    program = f"import sentiflow; sentiflow.runs; import {theirs[:5]}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], env=world.environment(**variables), cwd=world.root,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "theirs was run\n"), done.stderr


def test_too_little_memory_is_no_bug(world: World) -> None:
    done = start(world, "predict", "good", limit=80_000_000)
    assert done.returncode == 3, done.stderr
    assert "not enough memory" in done.stderr and "Traceback" not in done.stderr


# From the import of TensorFlow on there is room for 300 MB more, however many threads this machine has begun.
NO_ROOM = """
import resource, sys
class NoRoom:
    def find_spec(name, path=None, target=None):
        if name == "tensorflow":
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
            sys.meta_path.remove(NoRoom)
sys.meta_path.insert(0, NoRoom)
"""


@pytest.mark.story
def test_too_little_memory_for_tensorflow_while_a_flow_runs_is_no_bug(world: World) -> None:
    training = ["train", "--dataset", "sample", "--set", "sequence_length=20"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", NO_ROOM + ENTRY, *training],
        env=world.environment(), cwd=world.root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "not enough memory" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.story
def test_warnings_that_a_user_makes_errors_of_fail_no_child_of_a_command(world: World) -> None:
    small = ["--dataset", "sample", "--set", "sequence_length=20", "--set", "units=4", "--set", "epochs=1"]
    sweep = ["sweep", *small, "--trials", "2", "--workers", "2", "--repeats", "1"]
    done = start(world, *sweep, PYTHONWARNINGS="error", PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
