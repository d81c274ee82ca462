"""Keeping TensorFlow's start-up notes off the terminal.

Its C++ side writes them straight to file descriptor 2 before any setting can stop them
(``TF_CPP_MIN_LOG_LEVEL`` is read later): six lines on processors and missing GPUs in every run.
"""

import io
import os
import re
import sys
import threading

from tasks.console import LastingFile

_NOISE = re.compile(
    rb"[IW]\d{4} [\d:.]+ "  # information and warnings; errors (E, F) pass
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions"
    rb"|E\d{4} .*cuda_platform.cc.*cuInit"  # a machine without a GPU
)


def is_native_noise(line: str) -> bool:
    """Whether a line is one of those notes."""
    return _NOISE.match(line.encode()) is not None


def filter_native_lines() -> None:
    """Pass what native code writes to stderr through a filter; Python's own lines go straight to the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    file = LastingFile(terminal, "w")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    threading.Thread(target=_forward, args=(reader, file), daemon=True).start()


def _forward(reader: int, terminal: LastingFile) -> None:
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            if not _NOISE.match(line):
                terminal.write(line)
