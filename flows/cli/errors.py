"""Errors as one or two lines and an exit code."""

import traceback

from sentiment.errors import SentiflowError
from sentiment.output import redact
from tasks.console import CONSOLE
from tasks.interrupts import EXIT_SECONDS
from tasks.prefect_away import prefect_away, refused_login
from tasks.terminal import escape

WORLD_FAILED = 3


def exit_code(err: BaseException) -> int:
    """The command's exit code: 2 wrong use, 3 a failed world (network, server, disk), 1 a bug."""
    if isinstance(err, SentiflowError):
        return err.exit_code
    return WORLD_FAILED if isinstance(err, OSError) or prefect_away(err) or refused_login(err) else 1


def exit_seconds(err: BaseException) -> float:
    """How long the exit may take: a Prefect server that is gone will not take what it was still to be told."""
    return 2.0 if prefect_away(err) else EXIT_SECONDS


def report(err: BaseException, *, debug: bool) -> None:
    """Print what went wrong and what to do; the traceback only when asked for."""
    if debug:
        CONSOLE.print(redact("".join(traceback.format_exception(err))), markup=False, soft_wrap=True)
    message, hint = map(redact, _sentences(err))
    CONSOLE.print(f"[bold red]Error:[/] {_indented(message)}", soft_wrap=True)
    if hint:
        CONSOLE.print(f"       {_indented(hint)}", soft_wrap=True)


def _indented(text: str) -> str:
    """As markup; a further line cannot pass for one of ours."""
    return "\n       ".join(map(escape, text.splitlines()))


def _sentences(err: BaseException) -> tuple[str, str]:
    if isinstance(err, SentiflowError):
        return str(err.args[0]), err.hint
    if isinstance(err, OSError):
        where = f": {err.filename}" if err.filename else ""
        return (
            f"{err.strerror or err}{where}",
            "Nothing half-written was kept; free or fix the place and run again.",
        )
    if away := prefect_away(err):
        return (
            away,
            "Start it (prefect server start), or unset PREFECT_API_URL to use a temporary one.",
        )
    if refused_login(err):
        return (
            "The Prefect server refuses the login.",
            "Set PREFECT_API_AUTH_STRING to the server's, as name:password, or unset PREFECT_API_URL.",
        )
    return (
        f"{type(err).__name__}: {_first_line(err)}",
        "This is a bug. Run again with --debug for its traceback.",
    )


def _first_line(err: BaseException) -> str:
    return (str(err).splitlines() or [""])[0][:300]
