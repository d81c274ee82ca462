"""What imports do, and what the scoring package may import; import-linter holds everything else."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sentiflow

PACKAGE = Path(sentiflow.__file__).parent


def loaded_by(*modules: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after importing some modules."""
    code = f"import sys, {', '.join(modules)}; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_scoring_loads_nothing_outside_numpy_threadpoolctl_and_the_standard_library() -> None:
    allowed = {"sentiflow", "numpy", "threadpoolctl"} | loaded_by("numpy") | set(sys.stdlib_module_names)
    assert loaded_by("sentiflow.scoring") <= allowed


def test_importing_flows_and_the_mlflow_client_changes_no_stream_and_no_variable_of_keras() -> None:
    code = (
        "import os, sys; before = sys.stdout, sys.stderr\n"
        "import flows.train, flows.cli.train, sentiflow.store.client\n"
        "assert before == (sys.stdout, sys.stderr); assert os.environ['KERAS_BACKEND'] == 'torch'\n"
        "assert 'optuna' not in sys.modules"  # half a second of each training's start
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "KERAS_BACKEND": "torch"}, check=True)


def imports(path: Path) -> list[tuple[int, str]]:
    """Every import of a file, wherever it stands: its level (0 is absolute) and the module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


@pytest.mark.parametrize("path", sorted((PACKAGE / "scoring").glob("*.py")), ids=lambda path: path.stem)
def test_scoring_names_only_these_and_itself_relatively(path: Path) -> None:
    """Red if the package, copied under another name, would reach for the original or for more libraries."""
    own = {"keras", "h5py"} if path.stem == "own" else set()  # a Keras model of a user's own
    allowed = {"numpy", "threadpoolctl", *own, *sys.stdlib_module_names}
    wrong = [(level, name) for level, name in imports(path) if level > 1 or (
        level == 0 and name.partition(".")[0] not in allowed)]  # fmt: skip
    assert wrong == []
