"""The entry of the command: checks what its first imports need."""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

from sentiflow.errors import SentiflowError, UsageError, out_of_memory

_ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run ``flows.cli.main:main``, see there."""
    try:
        for name in ("flows", "tasks"):
            _need_own(name)
        run = resolve_name("flows.cli.main:main")
    except Exception as err:  # noqa: BLE001 - all that is known to fail here
        ours = out_of_memory(err) or err
        if not isinstance(ours, SentiflowError):
            raise
        sys.stderr.write(f"Error: {ours.args[0]}\n       {ours.hint}\n")
        sys.exit(ours.exit_code)
    run()


def _need_own(name: str) -> None:
    """Refuse a package of somebody else that is found before ours of the same name; it is not imported."""
    found = find_spec(name)
    places = [] if found is None else [found.origin, *(found.submodule_search_locations or ())]
    here = [Path(each) for each in places if each]
    if here and not any(each.is_relative_to(_ROOT) for each in here):
        hint = "Install Sentiflow into an environment of its own."
        if "PYTHONPATH" in os.environ:
            hint = f"Try it without PYTHONPATH: env -u PYTHONPATH {shlex.join(sys.argv)}"
        raise UsageError(f"{here[0]} hides Sentiflow's own package {name}.", hint)
