"""The command's main function. Importing it is cheap: each command imports what it needs when it runs."""

import os
import sys
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

from sentiflow.console import outlive_readers
from sentiflow.errors import out_of_memory

if TYPE_CHECKING:
    from typer import Typer

_QUIET = {
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its warnings come through our own handler
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the summary names the run's address
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # Prefect's own temporary server asks for no login; ours does
}


def main() -> None:
    """Run a command and end the process.

    Exit codes: 0; 2 wrong use; 3 an external failure; 4 refused; 5 scored, but rows were
    rejected; 1 a bug; 128 and the number of the signal.
    """
    # The interpreter's own start is all computing, so its CPU time is about the time since it began.
    began = time.time() - time.process_time()
    from sentiflow import signals
    from sentiflow.children import collect_less
    from sentiflow.environment import leave_folder, process_started

    outlive_readers()
    leave_folder()
    _ignore_warnings()
    collect_less()
    signals.leave_at_exit()
    signals.listen()
    try:
        process_started.set(began)
        _run()
    except BaseException as err:  # noqa: BLE001 - whatever ended the command, its exit code is given
        signals.decide(1)  # from here on signals raise nothing
        try:
            _end(err)
        except (MemoryError, SystemError, ImportError) as lack:  # the message itself needs memory
            if isinstance(lack, ImportError) and out_of_memory(lack) is None:
                raise
            signals.decide(3)
            os.write(2, b"Error: There was not enough memory.\n")
        raise SystemExit from None


def _ignore_warnings() -> None:
    """Hide libraries' warnings, here and in children, also where PYTHONWARNINGS makes errors of them."""
    action: Literal["default", "ignore"] = "default" if "--debug" in sys.argv else "ignore"
    sys.warnoptions[:] = [action]  # what multiprocessing tells its children
    warnings.simplefilter(action)
    os.environ["PYTHONWARNINGS"] = action


def _run() -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.pop("PREFECT_API_URL", None)  # empty, Prefect's events go to no server and are lost
    application()()


def application() -> "Typer":
    """The Typer app of all commands; their modules import at their top only what ``--help`` needs."""
    import typer

    from flows.cli import admin, data, inference, models, runs, schedule, sweep, train

    def print_version(asked: bool) -> None:
        if asked:
            from importlib.metadata import version

            typer.echo(f"sentiflow {version('sentiflow')}")
            raise typer.Exit

    shown = typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and end.")
    app = typer.Typer(
        name="sentiflow",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help="Train, track, register and use a sentiment model of film reviews.",
        epilog="Settings are read from SENTIFLOW_* variables and .env; docs/settings.md lists them.",
    )

    @app.callback()
    def _options(_version: Annotated[bool, shown] = False) -> None:
        pass

    for module in (train, data, sweep, runs, models, inference, schedule, admin):
        app.add_typer(module.app)
    return app


def _end(err: BaseException) -> None:
    """Decide the exit code by what ended the command, and say what it was."""
    from sentiflow import signals

    if isinstance(err, SystemExit) and not err.code:  # also of a command that Ctrl-C is meant to end
        signals.decide(0)
    elif number := signals.first_signal():
        signals.decide(128 + number)
        with suppress(OSError):  # the terminal may be gone
            sys.stderr.write("Interrupted.\n")
    elif isinstance(err, SystemExit):
        signals.decide(err.code if isinstance(err.code, int) else 1)
    else:
        from flows.cli.output import as_ours, report
        from sentiflow.errors import prefect_away

        # A Prefect server that is gone will not take what is still to be sent.
        signals.decide(as_ours(err).exit_code, 2.0 if prefect_away(err) else signals.EXIT_SECONDS)
        with suppress(OSError):
            report(err, debug="--debug" in sys.argv)
