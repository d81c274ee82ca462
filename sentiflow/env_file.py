"""The file ``.env`` of settings."""

import difflib
import logging
from functools import cache
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from sentiflow.errors import UsageError

logger = logging.getLogger(__name__)


def lines_of(file: Path, prefix: str) -> list[Binding]:
    """The lines of a file; none if there is no such file."""
    try:
        content = file.read_text(encoding="utf-8") if file.is_file() else ""
    except OSError as err:
        hint = "Whose is it? What `sudo make` made may be root's."
        raise UsageError(f"{file} cannot be read: {err.strerror}.", hint) from err
    except UnicodeDecodeError as err:
        raise UsageError(f"{file} is not UTF-8: {err.reason} at byte {err.start}.", "Save it as UTF-8.") from None
    lines = list(parse_stream(StringIO(content)))
    for line in lines:
        if prefix in line.original.string.upper() and (line.error or (line.key and line.value is None)):
            problem = f"{file}: line {line.original.line} cannot be read."
            raise UsageError(problem, "Write NAME=value, and close its quotes.")
    return lines


@cache
def warn_if_unknown(name: str, known: frozenset[str]) -> None:
    """Warn of a variable that is no setting, once in a process: settings are read again and again."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)  # all begin alike
        logger.warning("Setting %s is unknown%s", name, f"; did you mean {near[0]}?" if near else ".")


@cache
def warn_if_elsewhere(named: str, store: str) -> None:
    """Warn whoever named another store by MLflow's own variable; MLflow sets it, too, to the store in use."""
    if named and not store.endswith(named.removeprefix("sqlite:///")):
        logger.warning("MLFLOW_TRACKING_URI is not read; name the store by SENTIFLOW_TRACKING_URI.")
