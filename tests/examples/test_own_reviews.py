"""The tables that a guide begins with."""

import subprocess
import sys
from pathlib import Path

from tests.world import ROOT

PROGRAM = [sys.executable, str(ROOT / "examples" / "own_reviews.py")]


def test_a_table_of_the_same_name_is_not_overwritten_and_its_own_is_made_again(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(PROGRAM, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "reviews.csv").write_text("my own")
    done = subprocess.run(PROGRAM, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, "is there already" in done.stderr) == (1, True)
    assert (tmp_path / "reviews.csv").read_text() == "my own"
