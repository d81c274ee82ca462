"""The file ``.env`` of settings, which may be another user's where the project is the current folder."""

import difflib
import logging
import os
import re
from collections.abc import Collection
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from dotenv.parser import Binding, parse_stream
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from sentiflow.errors import UsageError

logger = logging.getLogger(__name__)

_PLACE = re.compile(
    "_(URI|URL|ADDRESS|HOSTS?|DATASET|RECIPE|PARAMETERS)$"
)  # what holds an address, or perhaps a path
_SAID = "_SENTIFLOW_SAID_OF_ENV_FILE"
_OWN = ("sqlite:", "file:")  # addresses of files
_NOT_ASKED = "ui_url"  # where we listen


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


def say_places(file: Path, settings: BaseSettings, names: Collection[str], *, ours: bool) -> None:
    """Warn which settings of the file, of ``names``, hold a place; only ``ours`` may name a server."""
    set_outside = {name.upper() for name, value in os.environ.items() if value}
    prefix = settings.model_config.get("env_prefix", "")
    places = {
        name: getattr(settings, field)
        for field, about in type(settings).model_fields.items()
        if (name := prefix + field.upper()) in names and name not in set_outside
        and (Path in (about.annotation, *get_args(about.annotation)) or _PLACE.search(name))
    }  # fmt: skip
    asked = [name for name, value in places.items() if _is_server(value) and name != prefix + _NOT_ASKED.upper()]
    if asked and not ours:
        raise UsageError(
            f"{file} sets {', '.join(asked)}: who made this folder would get your logins, or run code here.",
            f"If you trust that address, export {asked[0]}: a variable of the environment counts.",
        )
    said = f"{file} sets {', '.join(places)}."
    if places and os.environ.get(_SAID) != said:
        logger.warning("%s", said)
        os.environ[_SAID] = said  # children need not say it again


def _is_server(value: Any) -> bool:
    """Whether one of the addresses, with spaces between, is not of a file."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return any("://" in each and not each.startswith(_OWN) for each in text.split())
