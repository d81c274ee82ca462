"""Errors that a user can act on; everything else is a bug and keeps its traceback."""


class SentiflowError(Exception):
    """An expected failure: a line for the user, a hint what to do next, and the exit code of the command."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}\n{self.hint}" if self.hint else str(self.args[0])

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Prefect sends exceptions between processes, and writes that of a failed flow to disk: without attributes
        # such as the rows that were rejected.
        return type(self), (str(self.args[0]), self.hint)


class UsageError(SentiflowError):
    """The request cannot be carried out as it was put: a wrong option, recipe or table (exit code 2)."""

    exit_code = 2


class DivergedError(UsageError):
    """The loss or the weights of a training became NaN or infinite."""


class ExternalError(SentiflowError):
    """Something outside failed: a network, a server, a disk, a file that is not what it should be (3)."""

    exit_code = 3


class RejectedError(SentiflowError):
    """A gate or a person said no (4)."""

    exit_code = 4


class UnreachableError(ExternalError):
    """A dataset could not be fetched at all: no network, no such address, no such file."""


class DeletedError(ExternalError):
    """The run that is written to was deleted in MLflow, by a person."""


class BusyError(ExternalError):
    """Another process holds what may be held by one at a time."""


_MEMORY = (
    "failed to map segment", "Cannot allocate memory", "can't start new thread", "std::bad_alloc",
    "error return without exception set",
)  # fmt: skip


def out_of_memory(err: BaseException) -> ExternalError | None:
    """What to say of an error that came from a lack of memory for data, a library or a thread; else None."""
    cause: BaseException | None = err
    while cause is not None:
        lines = [line for line in str(cause).splitlines() if any(each in line for each in _MEMORY)]
        if lines or isinstance(cause, MemoryError):
            why = first_line(lines[0] if lines else cause).rstrip(".")
            hint = "End other programs, or raise the limits of this shell (ulimit -v, ulimit -u)."
            return ExternalError(f"There was not enough memory: {why}.", hint)
        cause = cause.__cause__ or cause.__context__
    return None


def first_line(err: BaseException | str) -> str:
    """The first line of an error's message, at most 300 characters; the name of its class where it has none."""
    lines = str(err).strip().splitlines()
    return lines[0][:300] if lines else type(err).__name__


def plain_reason(message: str) -> str:
    """What pydantic says of a value, without the words that it puts before ours."""
    return message.removeprefix("Value error, ")


def prefect_away(err: BaseException) -> str | None:
    """What to say when Prefect's client could not reach its server; None for any other error."""
    away = type(err).__module__.partition(".")[0] in ("httpx", "httpcore") or "Failed to reach API" in str(err)
    return f"The Prefect server does not answer: {first_line(err)}" if away else None


def newer_format(what: str, form: int, writer: object, known: int) -> ExternalError:
    """The error for a file that a later version of Sentiflow wrote."""
    problem = f"{what} is of format {form}, written by Sentiflow {writer!s:.60}; this one reads up to {known}."
    return ExternalError(problem, "Upgrade Sentiflow to that version.")
