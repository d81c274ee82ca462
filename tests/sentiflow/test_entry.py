"""The entry of the command, as the console script calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import World

ENTRY = "import sys; sys.argv[0] = 'sentiflow'; from sentiflow.entry import main; main()"


def start(world: World, *arguments: str, limit: int = 0, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command, with at most so many bytes of address space."""
    limited = ["prlimit", f"--as={limit}"] if limit else []
    return subprocess.run(
        [*limited, sys.executable, "-P", "-c", ENTRY, *arguments], env=world.environment(**variables),
        cwd=world.root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("theirs", ["tasks.py", "flows.py", "flows/__init__.py", "tasks/celery.py"])
def test_another_projects_module_of_our_names_is_named_and_not_run(
    world: World, tmp_path: Path, theirs: str
) -> None:
    file = tmp_path / "their project" / theirs
    file.parent.mkdir(parents=True)
    file.write_text("raise SystemExit('theirs was run')\n")
    done = start(world, "runs", PYTHONPATH=str(tmp_path / "their project"))
    found = file if theirs != "tasks/celery.py" else file.parent
    name = theirs[:5]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: {found} hides Sentiflow's own package {name}.\n"
        "       Try it without PYTHONPATH: env -u PYTHONPATH sentiflow runs\n"
    )


def test_another_projects_folder_with_other_modules_does_no_harm(world: World, tmp_path: Path) -> None:
    (tmp_path / "celery_app.py").write_text("raise SystemExit('theirs was run')\n")
    assert start(world, "--version", PYTHONPATH=str(tmp_path)).returncode == 0


# Where the memory ends: in the command's own imports; in a library's.
@pytest.mark.parametrize("limit", [40_000_000, 80_000_000])
def test_too_little_memory_is_no_bug(world: World, limit: int) -> None:
    done = start(world, "predict", "good", limit=limit)
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
