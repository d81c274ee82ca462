"""Train, track, compare, promote and use a sentiment model: ``import sentiflow as sf``.

Importing it does nothing: what a name needs is imported when the name is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentiflow.api import Explanation, Model, Run, compare, load, promote, runs, train

    __version__: str

__all__ = ["Explanation", "Model", "Run", "__version__", "compare", "load", "promote", "runs", "train"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sentiflow")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sentiflow import api

    return getattr(api, name)
