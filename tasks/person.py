"""Who acts."""

import getpass
import socket


def user() -> str:
    """The name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"


def person() -> str:
    """User and machine."""
    return f"{user()} on {socket.gethostname()}"
