"""The wheel carries the packages flows and tasks inside of sentiflow, where they hide nobody's of these names."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithFlows(build_py):
    """Adds ``sentiflow/bundled``, from which ``sentiflow/__main__.py`` imports them."""

    def run(self) -> None:
        """Build all packages; an editable installation finds them in the checkout."""
        super().run()
        if not self.editable_mode:
            for name in ("flows", "tasks"):
                to = Path(self.build_lib, "sentiflow", "bundled", name)
                shutil.copytree(name, to, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithFlows})
