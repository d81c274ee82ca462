"""The command line. Importing it is cheap: each command imports what it needs when it runs."""

import os
import sys
import time

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's notes on processors and missing GPUs
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its warnings come through our own handler
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the summary names the run's address
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Prefect's temporary server needs 6 to 19 s on two cores, and its own patience is 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def main() -> None:
    """Run a command; exit with 0, or 2 for wrong use, 3 for a world that failed, 130 interrupted, 1 for a bug."""
    # The interpreter's own start is all computing, so its CPU time is about the time since it began.
    began = time.time() - time.process_time()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.pop("PREFECT_API_URL", None)  # empty, Prefect's events go to no server and are lost
    from flows.cli.app import app
    from flows.cli.errors import exit_code, report
    from tasks import interrupts
    from tasks.clock import process_started
    from tasks.console import CONSOLE

    process_started.set(began)
    interrupts.listen()
    try:
        app()
    except BaseException as err:
        well = isinstance(err, SystemExit) and not err.code  # a command that Ctrl-C is meant to end
        if interrupts.received and not well:
            CONSOLE.print("Interrupted: what was begun is closed, nothing half-made is left.")
            sys.exit(128 + interrupts.received[0])
        if not isinstance(err, Exception):
            raise
        report(err, debug="--debug" in sys.argv)
        sys.exit(exit_code(err))
