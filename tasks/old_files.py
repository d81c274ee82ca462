"""Files that nothing uses any more: work of killed runs, old datasets and downloads."""

import json
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sentiment.data.reviews import used_at, vocabulary_file
from sentiment.files import PARTIAL
from sentiment.names import model_name
from sentiment.settings import Settings
from tasks import endings
from tasks.care import Care, size_of
from tasks.locks import own_lock
from tasks.shared_lock import HOUSEKEEPING

_DAY = 86_400.0


def remove_old_files(settings: Settings, kept: Collection[str]) -> Care:
    """Remove what no process uses from the data folder.

    Work folders go when no training holds their model's lock; datasets, and what they were made from, when nothing
    used them for as long as the settings say.

    Args:
        settings: the data folder, and for how long unused files stay.
        kept: digests of datasets that stay: those of champions, by which candidates are judged.
    """
    care, data = Care(), settings.data_dir
    before = time.time() - settings.keep_files_days * _DAY
    for folder in _folders(data / "work"):
        with care.attempt(f"remove {folder}"), own_lock(folder.name, settings, HOUSEKEEPING) as free:
            if free:
                _remove(folder, "work files of no living run", care)
    for folder in _folders(data / "datasets"):
        with care.attempt(f"clean {folder}"), own_lock(model_name(folder.name), settings, HOUSEKEEPING) as free:
            if free:
                _clean_dataset(folder, before, kept, care)
    for folder in _folders(data / "downloads"):
        with care.attempt(f"clean {folder}"):
            _clean_download(folder, before, care)
    for note in sorted(endings.folder(settings).glob("*.json")):
        with care.attempt(f"remove {note}"):
            if note.stat().st_mtime < before:
                _remove(note, "how a run ended that no store knows", care)
    return care


def _clean_dataset(folder: Path, before: float, kept: Collection[str], care: Care) -> None:
    """Remove old tables with their words, what a killed preparation left, and notes that lead nowhere."""
    with _if_free(folder / ".lock") as free:
        if not free:  # it is being prepared
            return
        for table in sorted(folder.glob("*.parquet")):
            if table.stem not in kept and used_at(table) < before:
                _remove(table, f"dataset {folder.name}, unused", care)
                words = vocabulary_file(table)
                if words.exists():
                    care.freed += size_of(words)
                    words.unlink()
        for leftover in folder.glob(f".*{PARTIAL}"):
            _remove(leftover, "left by a killed preparation", care)
        tables = {table.stem for table in folder.glob("*.parquet")}
        for note in folder.glob(".*.json"):
            if _digest(note) not in tables:
                note.unlink()


def _digest(note: Path) -> str | None:
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["digest"])
    except (ValueError, KeyError, TypeError):  # cut off by a full disk: it leads nowhere
        return None


def _clean_download(folder: Path, before: float, care: Care) -> None:
    """Remove what killed downloads left, and files that nothing used; each has a lock beside it."""
    for path in sorted(folder.glob(".*.lock")):
        target = folder / path.name.removeprefix(".").removesuffix(".lock")
        with _if_free(path) as free:
            if not free:  # it is being fetched
                continue
            for leftover in sorted(folder.iterdir()):
                if leftover.is_file() and leftover != target and leftover.suffix != ".lock":
                    _remove(leftover, "left by a killed download", care)
            if target.exists() and target.stat().st_mtime < before:
                _remove(target, "download, unused", care)


@contextmanager
def _if_free(path: Path) -> Iterator[bool]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _remove(path: Path, why: str, care: Care) -> None:
    size = size_of(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    care.freed += size
    care.removed.append(f"{path.name} ({why})")


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("*") if path.is_dir())
