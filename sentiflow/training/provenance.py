"""What a run keeps of its code, packages and machine, and whether an equal training made a version already."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sentiflow.base import model as base
from sentiflow.data.prepare import fetch, find_prepared, prepare
from sentiflow.data.table import TableOptions
from sentiflow.environment import processor
from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import AUTO, BASE, BUILT_IN, NONE, model_name
from sentiflow.redaction import printable
from sentiflow.scoring import cores
from sentiflow.settings import Settings
from sentiflow.store.find import open_store
from sentiflow.store.records import HIDDEN, SCORER_DIGEST, Version
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import version_meant

# Files of a run: the first for `git apply`, the others in the forms of `sha256sum --check` and `pip install -r`.
PATCH, SOURCES, PACKAGES = "uncommitted.patch", "sources.txt", "packages.txt"
TRAINING_KEY = "training.key"  # tag of a version
MAX_PATCH = 1_000_000  # bytes: code, and no data that somebody put among it

_ROOT = Path(__file__).parents[2]  # where the three packages lie: a checkout, or where they are installed
_DECIDING = (  # the weights that a training gives; the rest starts, measures, keeps and serves them
    "base/*.py", "data/*.py", "scoring/*.py", "training/network/*.py",
    "training/fitting.py", "training/recipes.py", "training/start_from.py",
)  # fmt: skip
_LOCK = "requirements.lock"
# Variables that choose the code of the processor: numpy's matrix products differ by it in the last bit. They stay,
# as machines of several kinds may be meant to compute alike.
_KERNELS = ("OPENBLAS_CORETYPE", "MKL_CBWR", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")

_OURS = ("flows", "tasks", "sentiflow")
_AT_ROOT = ("pyproject.toml", "requirements*.lock")
_KEPT = (
    *_AT_ROOT,
    *(f"{package}/*{end}" for package in _OURS for end in (".py", ".toml", ".html", ".css", ".js", ".yaml")),
)
# Of the user's or the repository's settings, those that run programs.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")


@dataclass(frozen=True)
class Checkout:
    """The commit that the code runs from."""

    commit: str
    dirty: bool  # whether a file of ours is another, is gone or is new; what git ignores is left out
    patch: bytes  # what differs in source files, for `git apply`


@cache
def checkout() -> Checkout | None:
    """Compare the code with its commit; None without git, or where this code is not in the commit.

    Where the code is installed, a repository around it is another's. Neither the user's index nor the repository
    is written to.
    """
    try:
        commit = _git("rev-parse", "--verify", "HEAD^{commit}").decode().strip()
        _git("cat-file", "-e", f"{commit}:./sentiflow/__init__.py")
        objects = (_ROOT / _git("rev-parse", "--git-path", "objects").decode().strip()).absolute()
        with tempfile.TemporaryDirectory() as folder:
            own = {
                "GIT_INDEX_FILE": f"{folder}/index", "GIT_OBJECT_DIRECTORY": folder,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
            }  # fmt: skip
            _git("read-tree", commit, **own)
            _git("add", "--all", "--", *_OURS, *_AT_ROOT, **own)
            changed = _git("diff-index", "--cached", "--name-only", commit, **own)
            # The plumbing, which no setting of the user's changes: `git apply` reads what it writes.
            options = ("--cached", "--patch", "--binary", "--full-index", "--no-ext-diff", "--no-textconv")
            return Checkout(commit, bool(changed), _git("diff-index", *options, commit, "--", *_KEPT, **own))
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str, **own: str) -> bytes:
    # A hook of git's, or a user, may have set which repository, which index and which settings to use.
    others = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = (*_GIT, "-C", str(_ROOT), *arguments)
    return subprocess.run(command, env=others | own, capture_output=True, check=True, timeout=60).stdout


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
    found = {each.stem for place in sys.path for each in Path(place).glob("*.dist-info")}
    names = (name.rpartition("-") for name in found if not name.startswith("sentiflow-"))
    return "".join(f"{name}=={number}\n" for name, _, number in sorted(names))


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def provenance_tags() -> dict[str, str]:
    """Tags of a run: its code, its packages and the machine; what git does not know is ``unknown``."""
    lock = _ROOT / _LOCK if (_ROOT / "pyproject.toml").is_file() else None
    here = {"git.commit": "unknown", "git.dirty": "unknown"}
    if found := checkout():
        here = {"git.commit": found.commit, "git.dirty": str(found.dirty).lower()}
        here["mlflow.source.git.commit"] = found.commit
        if size := len(found.patch):
            here["git.patch"] = PATCH if size <= MAX_PATCH else f"left out: {size:,} bytes"
    kernels = [f"{name}={printable(os.environ[name])}" for name in _KERNELS if os.environ.get(name)]
    return {
        **here,
        f"{HIDDEN}code.digest": digest_of(sources()),
        f"{HIDDEN}lock.digest": digest_of(lock.read_text()) if lock and lock.is_file() else "unknown",
        f"{HIDDEN}packages.digest": digest_of(packages()),
        "processor": ", ".join((processor(), *kernels)),
        "threads": str(cores()),
    }


def write_files(folder: Path) -> None:
    folder.mkdir()
    (folder / SOURCES).write_text(sources(), encoding="utf-8")
    (folder / PACKAGES).write_text(packages(), encoding="utf-8")
    if (found := checkout()) and 0 < len(found.patch) <= MAX_PATCH:
        (folder / PATCH).write_bytes(found.patch)


def trained_already(
    config: TrainConfig, dataset: str, seed: int, settings: Settings, table: TableOptions, start_from: str
) -> Version | None:
    """Find a version made by the same recipe, data, start, code, packages and seed; None if a training is due."""
    name = model_name(dataset)
    versions = [each for each in open_store(settings).versions(name) if TRAINING_KEY in each.tags]
    prepared = find_prepared(dataset, settings, table)
    if prepared is None and versions and dataset not in BUILT_IN:  # other files may hold the same data
        with suppress(UsageError, ExternalError):  # the training says what is wrong, and its run keeps it
            prepared = prepare(fetch(dataset, settings, options=table), settings)
    if prepared is None:
        return None
    key = training_key(config, prepared.digest, seed, asked_key(start_from, dataset, settings))
    equal = [each.number for each in versions if each.tags[TRAINING_KEY] == key]
    return Version(name, equal[-1], "trained already") if equal else None


def training_key(config: TrainConfig, digest: str, seed: int, start: str) -> str:
    """SHA-256 of what decides a training: recipe, dataset, seed, start, deciding code, installed packages."""
    recipe = config.model_dump(exclude={*config.fit_to_table})
    return digest_of(json.dumps([recipe, digest, seed, start, sources(), packages()]))


def asked_key(asked: str, dataset: str, settings: Settings) -> str:
    """What of a start decides whether a training is another; with ``auto``, a new champion does not."""
    if asked == NONE or (asked == AUTO and dataset in BUILT_IN):
        return NONE
    if asked in (AUTO, BASE):
        return f"{asked} {base.base().digest}"
    name, version = version_meant(open_store(settings), asked)
    return version.tags.get(SCORER_DIGEST, f"{name}/{version.number}")


def nothing_to_train(equal: Version) -> str:
    same = "same recipe, data, seed, code and packages"
    return f"Nothing to train: {equal.name} version {equal.number} has the {same}."
