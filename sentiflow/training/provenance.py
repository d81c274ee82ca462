"""What a run keeps to be trained again: code, packages and machine; and what differs here and now."""

import hashlib
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sentiflow.process import processor
from sentiflow.redaction import printable
from sentiflow.scoring import cores
from sentiflow.training.checkout import PATCH, compare, patch

# Files of a run, beside the patch, in the forms of `sha256sum --check` and `pip install -r`.
SOURCES, PACKAGES = "sources.txt", "packages.txt"

_ROOT = Path(__file__).parents[2]  # where the three packages lie: a checkout, or where they are installed
_DECIDING = (  # the weights that a training gives; the rest starts, measures, keeps and serves them
    "base/*.py", "data/*.py", "scoring/*.py", "training/network/*.py", "training/fitting.py",
    "training/recipes.py", "training/start_from.py",
)  # fmt: skip
_LOCK = "requirements.lock"
_SHOWN = 6  # names of files that a line shows
# Variables that choose the code of the processor: numpy's matrix products differ by it in the last bit. They stay,
# as machines of several kinds may be meant to compute alike.
_KERNELS = ("OPENBLAS_CORETYPE", "MKL_CBWR", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")


@cache
def sources() -> str:
    """SHA-256 of each file of code that decides a training's weights, as this process found them first."""
    found = (file for pattern in _DECIDING for file in (_ROOT / "sentiflow").glob(pattern))
    # Python imports no other either: an editor's lock on a file is a link that leads nowhere, named like it.
    files = sorted(file for file in found if file.is_file() and os.access(file, os.R_OK))
    return "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(_ROOT).as_posix()}\n"
        for file in files
    )


@cache
def packages() -> str:
    """Names and versions of all installed packages but this one."""
    found = {each.stem for place in sys.path for each in Path(place).glob("*.dist-info")}
    names = (name.rpartition("-") for name in found if not name.startswith("sentiflow-"))
    return "".join(f"{name}=={number}\n" for name, _, number in sorted(names))


def digest_of(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def git_tags() -> dict[str, str]:
    """The commit of the code, and whether the working tree differs from it; ``unknown`` without git."""
    difference = compare(_ROOT)
    if difference is None:
        return {"git.commit": "unknown", "git.dirty": "unknown"}
    return {
        "git.commit": difference.commit,
        "git.dirty": str(bool(difference)).lower(),
        "mlflow.source.git.commit": difference.commit,
    }


def provenance_tags() -> dict[str, str]:
    """Tags of a run: its code, its packages and the machine."""
    made = patch(_ROOT)
    kept = f"left out: {made.left_out}" if made.left_out else PATCH
    lock = _ROOT / _LOCK if (_ROOT / "pyproject.toml").is_file() else None
    return {
        **git_tags(),
        **({"git.patch": kept} if made.text or made.left_out else {}),
        "code.digest": digest_of(sources()),
        "lock.digest": digest_of(lock.read_text()) if lock and lock.is_file() else "unknown",
        "packages.digest": digest_of(packages()),
        "processor": ", ".join((processor(), *_kernels())),
        "threads": str(cores()),
    }


def _kernels() -> list[str]:
    return [f"{name}={printable(os.environ[name])}" for name in _KERNELS if os.environ.get(name)]


def new_files() -> list[str]:
    """Lines that name files of code that are in no commit: those in a run's patch, and those that are not."""
    made = patch(_ROOT)
    found = {
        f"New files of code are kept with the run, in {PATCH}": made.new,
        "New files of code that are not kept with the run, as git ignores them": made.ignored,
    }
    return [f"{what}: {_some(names)}." for what, names in found.items() if names]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return printable(", ".join(names[:_SHOWN])) + more


def write_files(folder: Path) -> None:
    """Write what a run keeps beside these tags into a new folder."""
    folder.mkdir()
    (folder / SOURCES).write_text(sources(), encoding="utf-8")
    (folder / PACKAGES).write_text(packages(), encoding="utf-8")
    if text := patch(_ROOT).text:
        (folder / PATCH).write_bytes(text)
