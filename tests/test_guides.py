"""The guides and the tutorial, run word by word: each block of shell, in order, in one world."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sentiflow.settings import Settings
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import ROOT, World

pytestmark = pytest.mark.story

GUIDES = ROOT / "docs" / "guides"
MIRROR = ("imdb_url", "imdb_sha256", "word_index_url", "word_index_sha256")


def blocks(guide: str) -> list[str]:
    """The blocks of shell of a guide."""
    text = (GUIDES / guide).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_block(block: str, world: World, **variables: str) -> str:
    """Run a block as a user would, stopping at the first command that fails; gives what it printed."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env=world.environment(PATH=path, **variables), cwd=world.root,
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_compare_and_promote(world: World, prefect_server: None) -> None:
    told = [run_block(block, world) for block in blocks("compare-and-promote.md")]
    trained, promoted, refused, overridden, used = told
    assert re.search(r"^\w{8} +tutorial\+3changes-sample-seed0-\S+ +training .* v2 *$", trained, re.MULTILINE)
    assert re.search(r"1 +champion", run_block("sentiflow versions --dataset sample", world))
    assert "champion" in promoted
    assert "exit code 4" in refused
    assert [line.split()[2] for line in overridden.splitlines() if "to try the way back" in line]
    assert re.search(r"positive +0\.\d+ +The acting was charming", used)


def test_schedule(world: World) -> None:
    first, second = blocks("schedule.md")
    home = Home(world, free_port())
    running = Scheduled(home, *shlex.split(first)[2:])
    try:
        assert f"http://127.0.0.1:{home.port}" in running.until_says("Prefect UI")
        assert re.search(r"train +every 2m, next ", running.output)
        assert re.search(r"housekeeping +0 5 \* \* \*.*, next .* 05:00:00 UTC", running.output)
        told = run_block(second, world, **home.variables)
        assert re.search(r" tutorial\+sequence_length=80-sample-seed7-\S+ +training .* 9\d\.\d\d%.* v\d", told)
    finally:
        assert running.ends(signal.SIGINT) == 0


@pytest.mark.timeout(600)
def test_tutorial(world: World, imdb_settings: Settings) -> None:
    (world.root / "examples").symlink_to(ROOT / "examples")
    mirror = {f"SENTIFLOW_{name.upper()}": str(getattr(imdb_settings, name)) for name in MIRROR}
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for commands in page.split("```sh\n")[1:]:
        block, _, rest = commands.partition("```\n")
        printed = plain(run_block(f"exec 2>&1\n{block}", world, **mirror), block)
        for shown in re.findall(r"^```text\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL):
            lines = [shown] if "train" not in block else shown.splitlines()  # log lines, each after its time
            assert all(plain(line, block) in printed for line in lines), f"{block}\n{printed}"
    (summary,) = world.root.glob("mlruns/**/model_summary.txt")
    assert summary.read_text(encoding="utf-8").strip() in page


def plain(text: str, block: str) -> str:
    """Text without line ends; what depends on the machine's arithmetic and speed, without its numbers."""
    text = " ".join(text.split())
    return re.sub(r"\d+(\.\d+)?", "#", text) if "train" in block or "captions" in block else text
