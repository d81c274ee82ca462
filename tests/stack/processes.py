"""The processes of this machine, by the mark in their environment."""

from pathlib import Path


def processes_of(mark: str) -> list[int]:
    """All processes that a service started, directly or not; by the beginning of the mark, of several services."""
    found = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in found if alive(pid) and is_of(pid, mark)]


def is_of(pid: int, mark: str) -> bool:
    """Whether a process carries a mark, from whoever started it."""
    try:
        return f"STACK_CONTAINER={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
