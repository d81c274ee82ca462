"""The small image, as far as Python sees it: only what its lock names can be imported."""

import re
import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import packages_distributions
from pathlib import Path

_LOCK = Path(__file__).parents[3] / "requirements-serve.lock"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class _OnlyLocked(MetaPathFinder):
    def __init__(self) -> None:
        locked = set(re.findall(r"^([a-z0-9.-]+)(?:\[.*\])?==", _LOCK.read_text(), flags=re.M)) | {"sentiflow"}
        self._absent = {
            module
            for module, owners in packages_distributions().items()
            if not locked & {_plain(owner) for owner in owners}
        }

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002
        if name.partition(".")[0] in self._absent:
            raise ModuleNotFoundError(f"No module named {name!r}: the lock of this image lacks it", name=name)


sys.meta_path.insert(0, _OnlyLocked())
