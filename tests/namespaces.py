"""Commands that see another machine: another host name, or no network."""

import shutil
import subprocess

import pytest


def apart(*namespaces: str) -> tuple[str, ...]:
    """What runs a command in namespaces of its own, such as ``--uts``; skips where the system makes none."""
    prefix = ("unshare", "--map-root-user", *namespaces)
    made = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False)
    if not made or made.returncode:
        pytest.skip("this system lets no user make namespaces")
    return prefix
