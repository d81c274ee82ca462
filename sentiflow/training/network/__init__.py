"""The Keras model, its training, and the fast training core."""

import ctypes
import os
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from sentiflow.environment import NUMERIC, isolate

# Each has a copy of Abseil's log, whose first lines no variable silences.
_LIBRARIES = ("libtensorflow_framework.so.2", "python/profiler/internal/_pywrap_profiler_plugin.so")
_FILTER = ("--line-buffered", "-v", "-e", "^I[0-9]", "-e", "^WARNING: All log messages before absl::InitializeLog")


def _load_libraries() -> None:
    """Load what prints notes on processors and GPUs as it is loaded, without these.

    All else is passed on by a process of its own: also why this one ends here, on a processor that is too old.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of the later ones
    found, grep = find_spec("tensorflow"), which("grep")
    if not (found and found.origin and grep and sys.__stderr__):
        return
    stderr, (reading, writing) = os.dup(2), os.pipe()
    filtering = subprocess.Popen([grep, *_FILTER], stdin=reading, stdout=stderr)
    os.dup2(writing, 2)
    for library in (Path(found.origin).parent / name for name in _LIBRARIES):
        with suppress(OSError):  # told where TensorFlow needs it
            ctypes.CDLL(str(library))
    os.dup2(stderr, 2)
    for descriptor in (stderr, reading, writing):
        os.close(descriptor)
    with suppress(subprocess.TimeoutExpired):  # another thread's child may hold its end
        filtering.wait(1)


isolate(NUMERIC)  # Keras, TensorFlow and numba read these variables as they are imported
_load_libraries()
