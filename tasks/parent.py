"""Flow runs end with the `sentiflow schedule` that started them, even when it was killed."""

import os
import signal
import threading
import time

_VARIABLE = "_SENTIFLOW_SCHEDULE_PROCESS"
_LOOK_SECONDS = 0.5
_END_SECONDS = 10

gone = threading.Event()
"""Whether the schedule ended before this flow run."""


def mark_children() -> None:
    """Let flow runs that this process starts end with it."""
    os.environ[_VARIABLE] = str(os.getpid())


def end_with_schedule(flow: object, flow_run: object, state: object) -> None:  # noqa: ARG001 - what Prefect gives
    """Watch the process that started this one, if it is a schedule; a hook that Prefect calls as a flow begins."""
    if schedule := os.environ.pop(_VARIABLE, None):
        threading.Thread(target=_watch, args=(int(schedule),), daemon=True).start()


def _watch(schedule: int) -> None:
    while os.getppid() == schedule:
        time.sleep(_LOOK_SECONDS)
    gone.set()
    os.kill(os.getpid(), signal.SIGTERM)  # the flow closes what it began
    time.sleep(_END_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
