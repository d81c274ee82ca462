"""How the checkout that the code runs from differs from its commit, whatever git's variables and settings are.

Git is asked only for what it alone knows: the commit, its files, and what it ignores. What differs is found by the
files' content: variables, settings and flags of the index can hide a change from git's own comparison.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from sentiflow.errors import first_line

PATCH = "uncommitted.patch"
MAX_PATCH = 1_000_000  # bytes: code, and no data that somebody put among it
_MAX_READ = 10_000_000  # bytes of files that a patch is made of

_PACKAGES = ("flows", "tasks", "sentiflow")
_ROOT_FILES = ("pyproject.toml", "requirements*.lock")
_SOURCES = {".py", ".toml", ".html", ".css", ".yaml"}
_COMPILED = {".so", ".pyc"}  # Python imports them as well, and prefers the first to a source file
_THIS = "sentiflow/__init__.py"  # of a repository that holds this code

# Of the user's or the repository's settings, those that run programs.
_SETTINGS = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_VARIABLES = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
_NO_MORE: Mapping[str, str] = MappingProxyType({})


class _GitFailedError(Exception):
    """Git failed, or a file that a patch is made of cannot be read."""


@dataclass(frozen=True)
class Difference:
    """How a checkout differs from its commit.

    Attributes:
        changed: committed files, of the whole project, whose content is another, or which are gone.
        new: files of code that are not in the commit, those that git ignores as well.
    """

    commit: str
    changed: tuple[str, ...]
    new: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.new)


@dataclass(frozen=True)
class Patch:
    """What the product's own source files hold beyond the commit, for ``git apply``.

    Attributes:
        text: empty if nothing differs, or if ``left_out`` says why there is none.
        new: the new files in it.
        ignored: new source files that are not: git ignores them, or they are another repository's.
    """

    text: bytes = b""
    new: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    left_out: str = ""


@cache
def compare(root: Path) -> Difference | None:
    """Compare a checkout with its commit; None without git, or where this code is not in the commit.

    Where the code is installed, a repository around it is another's, and git is not asked.
    """
    try:
        commit = _git(root, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
        listed = os.fsdecode(_git(root, "ls-tree", "-r", "-z", commit)).split("\0")
    except _GitFailedError:
        return None
    entries = [line.partition("\t") for line in listed if line]
    committed = {name: tuple(about.split()) for about, _, name in entries}
    if _THIS not in committed:
        return None
    changed = (
        name
        for name, (_, kind, digest) in committed.items()
        if kind == "blob" and _digest_of(root / name, len(digest)) != digest
    )
    new = (name for name in _code_files(root) if name not in committed)
    return Difference(commit, tuple(changed), tuple(sorted(new)))


def _digest_of(file: Path, digits: int) -> str:
    """Git's name of a file's content; empty if there is none, or it cannot be read."""
    try:
        if file.is_symlink() or not file.is_file():
            return _digest(blob[1], digits) if (blob := _blob(file)) else ""
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            return hashlib.file_digest(stream, lambda: _hash(b"blob %d\0" % size, digits)).hexdigest()
    except OSError:
        return ""


def _blob(file: Path) -> tuple[str, bytes] | None:
    """Git's mode and object of a file; of a link, of where it leads. None if there is no file."""
    try:
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            kind, content = "120000", os.fsencode(file.readlink())
        elif stat.S_ISREG(mode):
            kind, content = ("100755" if mode & stat.S_IXUSR else "100644"), file.read_bytes()
        else:
            return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    return kind, b"blob %d\0%b" % (len(content), content)


def _digest(blob: bytes, digits: int) -> str:
    return _hash(blob, digits).hexdigest()


def _hash(begun: bytes, digits: int) -> "hashlib._Hash":
    """The hash of the repository's form: SHA-1, or SHA-256 with its 64 digits."""
    return hashlib.new("sha1" if digits == 40 else "sha256", begun, usedforsecurity=False)


def _code_files(root: Path) -> Iterator[str]:
    """Names of files that Python or this product reads as code, and of links to folders, which may hold some."""
    yield from (file.name for pattern in _ROOT_FILES for file in root.glob(pattern))
    for package in _PACKAGES:
        for file in (root / package).rglob("*"):
            path = PurePosixPath(file.relative_to(root))
            if not _is_hidden(path) and (
                path.suffix in _SOURCES | _COMPILED or (file.is_symlink() and file.is_dir())
            ):
                yield str(path)


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _is_source(name: str) -> bool:
    """Whether a file may go into a patch: it is named as source files of ours are, and not hidden."""
    path = PurePosixPath(name)
    if len(path.parts) == 1:
        return any(path.match(pattern) for pattern in _ROOT_FILES)
    return path.parts[0] in _PACKAGES and path.suffix in _SOURCES and not _is_hidden(path)


@cache
def patch(root: Path) -> Patch:
    """Make the patch of a checkout; neither the user's index nor the repository is written to."""
    difference = compare(root)
    changed = [name for name in difference.changed if _is_source(name)] if difference else []
    new = [name for name in difference.new if _is_source(name)] if difference else []
    if difference is None or not (changed or new):
        return Patch()
    try:
        return _make_patch(root, difference.commit, changed, new)
    except (_GitFailedError, OSError) as err:
        return Patch(left_out=first_line(err))


def _make_patch(root: Path, commit: str, changed: Sequence[str], new: Sequence[str]) -> Patch:
    prefix, objects = _git(root, "rev-parse", "--show-prefix", "--git-path", "objects").decode().split("\n")[:2]
    with tempfile.TemporaryDirectory() as folder:
        own = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / objects).absolute()),
        }
        _git(root, "read-tree", commit, own=own)
        kept: set[str] = set()
        if new:
            ours = ("--", *_PACKAGES, *_ROOT_FILES)
            listed = _git(root, "ls-files", "-z", "--others", "--exclude-standard", *ours, own=own)
            kept = set(os.fsdecode(listed).split("\0"))
        names = [*changed, *(name for name in new if name in kept)]
        if (size := sum(_size(root / name) for name in names)) > _MAX_READ:
            return Patch(left_out=f"the files that differ have {size:,} bytes")
        lines = (_index_line(root / name, prefix + name, Path(folder), len(commit)) for name in names)
        _git(root, "update-index", "-z", "--index-info", given=b"".join(lines), own=own)
        # The plumbing, which no setting of the user's changes: `git apply` reads what it writes.
        options = ("--cached", "--patch", "--binary", "--full-index", "--no-ext-diff", "--no-textconv")
        text = _git(root, "diff-index", *options, commit, own=own)
    if len(text) > MAX_PATCH:
        return Patch(left_out=f"{len(text):,} bytes, at most {MAX_PATCH:,} are kept")
    return Patch(text, tuple(filter(kept.__contains__, new)), tuple(name for name in new if name not in kept))


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0


def _index_line(file: Path, name: str, objects: Path, digits: int) -> bytes:
    """Keep a file's content among the objects, as it is, and say where: no filter of the repository's is run."""
    blob = _blob(file)
    if blob is None:
        return os.fsencode(f"0 {'0' * digits}\t{name}\0")
    digest = _digest(blob[1], digits)
    (objects / digest[:2]).mkdir(exist_ok=True)
    (objects / digest[:2] / digest[2:]).write_bytes(zlib.compress(blob[1]))
    return os.fsencode(f"{blob[0]} {digest}\t{name}\0")


def _git(root: Path, *arguments: str, own: Mapping[str, str] = _NO_MORE, given: bytes = b"") -> bytes:
    """What git says of a checkout.

    Raises:
        _GitFailedError: there is no git, or no checkout here; git fails, or takes longer than a minute.
    """
    git = shutil.which("git")
    if git is None or not (root / "pyproject.toml").is_file():
        raise _GitFailedError("there is no git here")
    # A hook of git's, or a user, may have set which repository, which index and which settings to use.
    others = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [git, *_SETTINGS, "-C", str(root), *arguments], env={**others, **_VARIABLES, **own},
            input=given, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as err:
        raise _GitFailedError(f"git {arguments[0]} failed: {first_line(err)}") from err
    if done.returncode:
        raise _GitFailedError(f"git {arguments[0]} failed: {first_line(done.stderr.decode(errors='replace'))}")
    return done.stdout
