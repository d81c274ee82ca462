"""The command line. Importing it is cheap: each command imports what it needs when it runs."""

import atexit
import os
import signal
import sys
import time
from contextlib import suppress

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's notes on processors and missing GPUs
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its warnings come through our own handler
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the summary names the run's address
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # Prefect's own temporary server asks for no login; ours does
}


def main() -> None:
    """Run a command and end the process.

    Exit codes: 0; 2 wrong use; 3 a failed world; 4 refused; 1 a bug; 128 and the number of the signal that came.
    """
    # The interpreter's own start is all computing, so its CPU time is about the time since it began.
    began = time.time() - time.process_time()
    from tasks import interrupts, preload

    atexit.register(interrupts.leave)
    preload.abandon()
    interrupts.listen()
    try:
        _run(began)
    except BaseException as err:  # noqa: BLE001 - whatever ended the command, its exit code is told
        interrupts.decide(1)  # from here on signals raise nothing
        code = _code(err)
        interrupts.decide(code)
        _tell(err)
        raise SystemExit(code) from None


def _run(began: float) -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.pop("PREFECT_API_URL", None)  # empty, Prefect's events go to no server and are lost
    from flows.cli.app import app
    from tasks.clock import process_started

    process_started.set(began)
    app()


def _code(err: BaseException) -> int:
    from tasks import interrupts

    if isinstance(err, SystemExit) and not err.code:
        return 0  # also of a command that Ctrl-C is meant to end
    if interrupts.received:
        return 128 + interrupts.received[0]
    if isinstance(err, SystemExit):
        if isinstance(err.__context__, BrokenPipeError):
            return 128 + signal.SIGPIPE  # who read the output has ended
        return err.code if isinstance(err.code, int) else 1
    from flows.cli.errors import exit_code

    return exit_code(err)


def _tell(err: BaseException) -> None:
    from tasks import interrupts

    if isinstance(err, SystemExit) and not err.code:
        return
    with suppress(OSError):  # the terminal may be gone
        if interrupts.received:
            sys.stderr.write("Interrupted: what was begun is closed, nothing half-made is left.\n")
        elif not isinstance(err, SystemExit):
            from flows.cli.errors import report

            report(err, debug="--debug" in sys.argv)
