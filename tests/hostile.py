"""Another user's folder: what is imported, run or used of it leaves a mark."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

# Of Python, of each library that is installed, and ours.
_MODULES = {name for name in (*sys.stdlib_module_names, *packages_distributions()) if name.isidentifier()} | {
    "flows", "tasks", "sentiflow", "sitecustomize", "usercustomize",
}  # fmt: skip
_LOGGING = "version: 1\nformatters: {{x: {{(): os.system, command: touch {}}}}}\nhandlers: {{}}\nloggers: {{}}\n"


@dataclass
class Hostile:
    """The folder, and one beside it for a file of each mark."""

    folder: Path
    marks: Path

    @property
    def reached(self) -> list[str]:
        """All that happened; empty if the folder was left alone."""
        return sorted(path.name for path in self.marks.iterdir())


@contextmanager
def hostile(root: Path, *own: str) -> Iterator[Hostile]:
    """Make the folder; nothing may be made in it but what is one's own."""
    made = Hostile(root / "theirs", root / "marks")
    made.marks.mkdir(parents=True)
    _fill(made.folder, made.marks)
    there = {path.name for path in made.folder.iterdir()}
    yield made
    assert {path.name for path in made.folder.iterdir()} <= there | set(own)


def _fill(folder: Path, marks: Path) -> None:
    folder.mkdir()
    for name in _MODULES:
        (folder / f"{name}.py").write_text(f"open({str(marks / name)!r}, 'w').close()\n")
    (folder / "logging.yml").write_text(_LOGGING.format(marks / "logging.yml"))
    (folder / "prefect.toml").write_text(f'[logging]\nconfig_path = "{folder}/logging.yml"\n')
    (folder / ".env").write_text(f"PREFECT_LOGGING_SETTINGS_PATH={folder}/logging.yml\n")
    (folder / ".numba_config.yaml").write_text(f"cache_dir: {marks}/numba\n")
    (folder / "matplotlibrc").write_text("backend: no\n")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    git = ["git", "-C", folder, "config", "core.fsmonitor", f"touch {marks}/fsmonitor"]
    subprocess.run(git, check=True)
