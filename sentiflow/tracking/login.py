"""The login of a running ``sentiflow ui``: random at each start, in a file that the same user's commands read."""

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sentiflow.files import own_folder, publish_private
from sentiflow.locks import file_lock, if_free
from sentiflow.process import ask_directly
from sentiflow.settings import Settings

LOGIN = "_SENTIFLOW_UI_LOGIN"
"""Variable with the login, in the environment of the server's process."""

_USER = "sentiflow"


@contextmanager
def login_note(settings: Settings, listener: socket.socket, address: str) -> Iterator[tuple[str, Path]]:
    """Make a login for a server that listens at a socket, kept in a file as long as the block runs; gives both.

    The socket must stay open as long: while the file's lock is held, no other process can have the address.
    """
    login = f"{_USER}:{secrets.token_urlsafe(24)}"
    own_folder(settings.data_dir / "ui")  # who can open the lock can hold it
    note = _note(settings, listener.getsockname())
    with file_lock(note.with_suffix(".lock"), "Another sentiflow ui", "ui"):
        try:
            publish_private(note, json.dumps({"ui": address, "login": login}).encode())
            yield login, note
        finally:
            note.unlink(missing_ok=True)


def use_login(settings: Settings) -> None:
    """Use the login of a running `sentiflow ui` whose address is the tracking store's, unless that brings one.

    It must run with this data folder. Written: the login, in this process's environment, for MLflow's client and
    our reader.
    """
    place = urlsplit(settings.tracking_uri)
    if place.scheme != "http" or place.username is not None or not place.hostname:
        return
    try:
        found = socket.getaddrinfo(place.hostname, place.port or 80, type=socket.SOCK_STREAM)
        note = _note(settings, found[0][4])  # of the address that a client asks first
        if not note.exists():
            return
        with if_free(note.with_suffix(".lock")) as free:
            if free:  # its process was killed
                return
        user, _, password = str(json.loads(note.read_text(encoding="utf-8"))["login"]).partition(":")
    except (OSError, ValueError, KeyError):  # no such name, or it has ended meanwhile
        return
    os.environ |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    ask_directly(place.hostname)


def _note(settings: Settings, address: tuple[Any, ...]) -> Path:
    return settings.data_dir / "ui" / f"{address[0]}:{address[1]}.json"
