"""The command: finds this installation's flows and tasks, and runs the main function of the command line."""

import os
import sys
from pathlib import Path
from pkgutil import resolve_name

_PACKAGE = Path(__file__).parent


def main() -> None:
    """Run ``flows.cli.main:main``, see there.

    Packages ``flows`` and ``tasks`` of other projects are common, so that an installation keeps ours in a folder
    of its own, ``bundled``. Here and in children it comes before all others.
    """
    bundled = _PACKAGE / "bundled"  # made by setup.py; a checkout has them beside the package
    folder = str(bundled if bundled.is_dir() else _PACKAGE.parent)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    resolve_name("flows.cli.main:main")()


if __name__ == "__main__":
    main()
