"""List the variables of the environment that the installed libraries name: ``python -m tests.variables``.

A name that stands in their sources need not be read: constants of C++ look alike.
"""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

_NAMES = {
    "keras": r"KERAS_[A-Z0-9_]+",
    "tensorflow": r"(?:TF|XLA|TFRT)_[A-Z0-9_]+",
    "numba": r"NUMBA_[A-Z0-9_]+",
    "mlflow": r"MLFLOW_[A-Z0-9_]+",
}


def in_python() -> set[str]:
    """Names in quotes in the Python sources of Keras, TensorFlow, numba and MLflow."""
    found: set[str] = set()
    for library, names in _NAMES.items():
        quoted = re.compile(rf"""["']({names})["']""")
        for file in _root(library).rglob("*.py"):
            found.update(quoted.findall(file.read_text(encoding="utf-8", errors="replace")))
    return found


def in_shared_libraries() -> set[str]:
    """Names in the shared libraries of TensorFlow: a gigabyte."""
    files = [file for file in _root("tensorflow").rglob("*.so*") if file.stat().st_size]
    command = [
        "grep",
        "--no-filename",
        "--only-matching",
        "--text",
        "--extended-regexp",
        r"\b(TF|XLA|TFRT)_[A-Z0-9_]{3,}",
    ]
    done = subprocess.run([*command, *files], env={"LC_ALL": "C"}, stdout=subprocess.PIPE, text=True, check=True)
    return set(done.stdout.split())


def _root(library: str) -> Path:
    spec = find_spec(library)
    assert spec and spec.origin
    return Path(spec.origin).parent


if __name__ == "__main__":
    print(*sorted(in_python() | in_shared_libraries()), sep="\n")  # noqa: T201
