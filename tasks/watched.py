"""Run a Python module in a process group that ends when its parent process does.

    python -P watched.py MODULE [ARGUMENT ...]

Standard input is a pipe that the parent holds open and never writes to. The kernel closes it when the parent ends,
whatever ended it; the group is then asked to end, and killed if it does not. ``tasks.children`` starts it.
"""

import os
import runpy
import signal
import sys
import threading
import time

END_SECONDS = 5
"""What the group has to end by itself."""


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(END_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # The module may set a handler of its own. Until then the group's last process stays, to kill those that hang.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
