"""Pages as notebooks: ``python -m docs.notebook`` writes docs/tutorial.ipynb and docs/python.ipynb."""

import json
import re
from typing import Any

from sentiflow.settings import project_root

PAGES = [project_root() / "docs" / name for name in ("tutorial.md", "python.md")]
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
# Instead of the line that puts the project's commands on the path of a shell.
_PATH = """\
import os
from pathlib import Path

root = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "pyproject.toml").is_file())
os.chdir(root)
os.environ.pop("FORCE_COLOR", None)  # Jupyter's: progress bars would fill the page
os.environ.pop("MPLBACKEND", None)  # Jupyter's, too: a module that the project's environment does not have
os.environ["PATH"] = f"{root}/.venv/bin:{os.environ['PATH']}"
"""


def notebook(page: str) -> dict[str, Any]:
    """Text becomes cells of text, each block of commands a cell of code, what it printed that cell's output."""
    cells, end = [], 0
    for block in _BLOCK.finditer(page):
        language, commands, printed = block.groups()
        cells.append(_text(page[end : block.start()]))
        cells.append(_code(_cell(commands, language), printed))
        end = block.end()
    cells.append(_text(page[end:]))
    for number, cell in enumerate(cells, start=1):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _cell(code: str, language: str) -> str:
    if language == "python":
        return code
    return _PATH if code.startswith("export PATH") else f"%%sh -e\n{code}"


def _text(part: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": _lines(part)}


def _code(source: str, printed: str | None) -> dict[str, Any]:
    outputs = [{"output_type": "stream", "name": "stdout", "text": _lines(printed)}] if printed else []
    return {
        "cell_type": "code", "metadata": {}, "execution_count": None, "source": _lines(source), "outputs": outputs,
    }  # fmt: skip


def _lines(text: str) -> list[str]:
    return text.strip("\n").splitlines(keepends=True)


def written(page: str) -> str:
    """The notebook's file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in PAGES:
        each.with_suffix(".ipynb").write_text(written(each.read_text(encoding="utf-8")), encoding="utf-8")
