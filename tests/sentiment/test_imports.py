"""Tests of what the library may import."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sentiment

PACKAGE = Path(sentiment.__file__).parent
HEAVY = ("prefect", "mlflow", "tensorflow", "keras")
BUILD_NETWORKS = {
    "sentiment.model", "sentiment.training", "sentiment.callbacks", "sentiment.core.network",
    "sentiment.baselines.networks", "sentiment.baselines.network_fit",
}  # fmt: skip
MODULES = sorted(
    info.name for info in pkgutil.walk_packages([str(PACKAGE)], "sentiment.") if info.name not in BUILD_NETWORKS
)


def loaded_by(*modules: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after importing some modules."""
    code = f"import sys, {', '.join(modules)}; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_list_of_modules_reaches_into_the_packages() -> None:
    assert {"sentiment.scoring.forward", "sentiment.data.prepare", "sentiment.plots"} <= set(MODULES)


def test_modules_that_build_no_network_load_no_orchestrator_tracker_or_backend() -> None:
    assert loaded_by(*MODULES).isdisjoint(HEAVY)


def test_scoring_loads_nothing_outside_numpy_and_the_standard_library() -> None:
    allowed = {"sentiment", "numpy"} | loaded_by("numpy") | set(sys.stdlib_module_names)
    assert loaded_by("sentiment.scoring") <= allowed


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
def test_scoring_names_only_numpy_the_standard_library_and_itself_relatively(path: Path) -> None:
    """Red if the package, copied under another name, would reach for the original or for more libraries."""
    allowed = {"numpy", *sys.stdlib_module_names}
    wrong = [(level, name) for level, name in imports(path) if level > 1 or (
        level == 0 and name.partition(".")[0] not in allowed)]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_of_the_library_names_prefect_or_mlflow(path: Path) -> None:
    assert {name.partition(".")[0] for _, name in imports(path)}.isdisjoint({"prefect", "mlflow"})
