"""What the figures were measured on, what its processor can do at most, and how commands are started on it."""

import os
import platform
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sentiflow.environment import processor

SENTIFLOW = str(Path(sys.executable).with_name("sentiflow"))
LIBRARIES = ("tensorflow", "keras", "torch", "numba", "numpy")


def own_store(folder: str | Path) -> dict[str, str]:
    """Variables for commands with a store and a Prefect of their own."""
    store = f"sqlite:///{folder}/mlruns/mlflow.db"
    return {"SENTIFLOW_TRACKING_URI": store, "PREFECT_HOME": f"{folder}/prefect", "PREFECT_API_URL": ""}


def log(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def describe() -> str:
    """Processor, cores and versions, in one line."""
    libraries = ", ".join(f"{library} {version(library)}" for library in LIBRARIES if _is_installed(library))
    return f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}"


def _is_installed(library: str) -> bool:
    return find_spec(library) is not None  # torch comes with the extra `bench` only


def product_rate(size: int = 2_048, rounds: int = 5) -> float:
    """Operations a second of a large float32 matrix product on all cores: the best of some rounds."""
    a, b = (np.random.default_rng(k).normal(size=(size, size)).astype(np.float32) for k in range(2))
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def recurrence_operations(steps: int, units: int) -> int:
    """Operations of an epoch's recurrent products: forward, the state's gradient, the kernel's; 2 u u each."""
    return 3 * 2 * units * units * steps
