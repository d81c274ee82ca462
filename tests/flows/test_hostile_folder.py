"""Commands that are started in another user's folder."""

import subprocess
from pathlib import Path

import pytest

from tests.hostile import hostile
from tests.world import World, command

TABLE = "\n".join(["text,label", *(f"{word} film {n},{label}" for n in range(150) for word, label in
                   (("good", 1), ("bad", 0))), ""])  # fmt: skip
SMALL = [word for field in ("epochs=1", "sequence_length=20", "units=4") for word in ("--set", field)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "reviews.csv", "-o", "scores.csv", "--workers", "2"],
        pytest.param(["train", "--dataset", "reviews.csv", *SMALL], marks=pytest.mark.story),
    ],
)
def test_a_command_leaves_the_folder_alone(registry: World, tmp_path: Path, arguments: list[str]) -> None:
    """Without what a user may have set and the tests' own server, so that the folder's files could count."""
    hidden = ("PREFECT_API_URL", "MLFLOW_", "PYTHON", "NUMBA_")
    kept = {name: value for name, value in registry.environment().items() if not name.startswith(hidden)}
    with hostile(tmp_path / "came", "reviews.csv", "scores.csv") as theirs:
        (theirs.folder / "reviews.csv").write_text(TABLE)
        done = subprocess.run(
            [command(), *arguments], env=kept, cwd=theirs.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert theirs.reached == []
