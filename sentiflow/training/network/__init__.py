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
_NOTES = ("-e", "^I[0-9]", "-e", "^WARNING: All log messages before absl::InitializeLog")


def _load_libraries() -> None:
    """Load what prints notes on processors and GPUs as it is loaded, without these.

    All else that is written meanwhile is passed on by a process of its own: also the last line of a process that
    ends here because the processor lacks an instruction.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of the later ones
    found, grep = find_spec("tensorflow"), which("grep")
    if not (found and found.origin and grep and sys.__stderr__) or "tensorflow" in sys.modules:
        return
    libraries = [path for name in _LIBRARIES if (path := Path(found.origin).parent / name).is_file()]
    stderr = os.dup(2)
    reading, writing = os.pipe()
    filtering = subprocess.Popen([grep, "--line-buffered", "-v", *_NOTES], stdin=reading, stdout=stderr)
    os.dup2(writing, 2)
    os.close(reading)
    os.close(writing)
    try:
        for library in libraries:
            ctypes.CDLL(str(library))
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with suppress(subprocess.TimeoutExpired):  # another thread's child may hold its end
            filtering.wait(1)


isolate(NUMERIC)  # Keras, TensorFlow and numba read these variables as they are imported
_load_libraries()
