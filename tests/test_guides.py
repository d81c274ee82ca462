"""The guides and the tutorial, run word by word: each block of shell, in order, in one world."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from matplotlib import image

from sentiflow.settings import Settings
from tests.environments import linked_environment, locked_packages, with_requirements
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import ROOT, World, command

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(900)]

GUIDES = ROOT / "docs" / "guides"
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
CAPTIONS = "examples/captions.py"
MIRROR = ("imdb_url", "imdb_sha256", "word_index_url", "word_index_sha256")


def blocks(guide: str) -> list[str]:
    """The blocks of shell of a guide."""
    text = (GUIDES / guide).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def steps_of(page: str) -> list[tuple[str, str]]:
    """The blocks of shell of a page, each with all that stands between it and the next."""
    return re.findall(r"^```sh\n(.*?)^```$(.*?)(?=^```sh|\Z)", page, re.MULTILINE | re.DOTALL)


def shown_in(rest: str) -> list[str]:
    """The lines that a page shows as printed after a block."""
    return "".join(re.findall(r"^```text\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)).splitlines()


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
    page = (GUIDES / "compare-and-promote.md").read_text(encoding="utf-8")
    assert len(shown_in(page)) > 20
    for block, rest in steps_of(page):
        printed = plain(run_block(f"exec 2>&1\n{block}", world), figures=True)
        for line in shown_in(rest):
            line = line.removesuffix("  ada")  # who it was is another here
            assert plain(line, figures=True) in printed, f"{block}\n{printed}"


def test_schedule(world: World) -> None:
    first, second, prefects_own, _ = blocks("schedule.md")
    home = Home(world, free_port())
    running = Scheduled(home, *shlex.split(first)[2:])
    try:
        assert f"http://127.0.0.1:{home.port}" in running.until_says("Prefect UI")
        assert re.search(r"train +every 2m, next ", running.output)
        assert re.search(r"housekeeping +0 5 \* \* \*.*, next .* 05:00:00 UTC", running.output)
        home.pause("train")  # what it would start by itself is looked at by nothing here
        told = run_block(second, world, **home.variables)
        assert re.search(r" ngrams-seed7 +sample +9\d\.\d\d% +v\d ", told)
        note = json.loads((world.root / "data" / "schedule" / "server.json").read_text())
        typed = prefects_own.replace("<the login that it printed>", note["login"]).replace("4200", str(home.port))
        run_block(typed, world, **home.variables)
        assert "-seed8 " in home.run("runs").stdout
    finally:
        assert running.ends(signal.SIGINT) == 0


def test_own_reviews(world: World, prefect_server: None) -> None:
    (world.root / "examples").symlink_to(ROOT / "examples")
    page = (GUIDES / "own-reviews.md").read_text(encoding="utf-8")
    assert len(shown_in(page)) > 10
    for block, rest in steps_of(page):
        if "serve" in block:
            (code,) = re.findall(r"^```python\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)
            printed = asked(world, block, code)
        else:
            printed = run_block(block, world)
        # They depend on the machine's arithmetic.
        figures = any(f"sentiflow {command}" in block for command in ("train", "score", "serve"))
        for line in shown_in(rest):
            assert plain(line, figures=figures) in plain(printed, figures=figures), f"{block}\n{printed}"


def asked(world: World, block: str, code: str) -> str:
    """What a program prints that asks the service which a block starts."""
    port = free_port()
    arguments = [command(), *shlex.split(block)[1:], "--port", str(port)]
    with subprocess.Popen(arguments, env=world.environment(), stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr is not None
            assert any("Sentiflow answers" in line for line in service.stderr)
            ours = code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            done = subprocess.run([sys.executable, "-c", ours], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        finally:
            service.terminate()
    return done.stdout


def test_the_tutorial_as_a_notebook(world: World, imdb_settings: Settings) -> None:
    """In a Jupyter of its own, from the notebook's folder; each cell prints what the page shows.

    Red if the project's commands were given what only Jupyter's environment has, such as the plots of its pages.
    """
    for name in ("examples", "pyproject.toml"):
        (world.root / name).symlink_to(ROOT / name)
    project = linked_environment(world.root / ".venv", locked_packages())
    jupyter = linked_environment(world.root / "jupyter", with_requirements("nbclient", "ipykernel"))
    assert (has(project, "keras"), has(project, "matplotlib_inline")) == (True, False)
    assert (has(jupyter, "keras"), has(jupyter, "matplotlib_inline")) == (False, True)
    mirror = {f"SENTIFLOW_{name.upper()}": str(getattr(imdb_settings, name)) for name in MIRROR}
    page = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    page.cells = [cell for cell in page.cells if CAPTIONS not in cell.source]  # it needs no reviews: see below
    (world.root / "docs").mkdir()
    nbformat.write(page, written := world.root / "docs" / "tutorial.ipynb")
    done = subprocess.run(
        [jupyter.with_name("jupyter-execute"), "--inplace", "--timeout=300", written],
        env=world.environment(**mirror), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = nbformat.read(written, as_version=4)
    outputs = ["".join(each.text for each in cell.outputs) for cell in page.cells if cell.cell_type == "code"]
    steps = [step for step in steps_of(TUTORIAL) if CAPTIONS not in step[0]]
    assert len(shown_in(TUTORIAL)) > 20
    for (block, rest), printed in zip(steps, outputs, strict=True):
        check_printed(block, rest, printed)
    summary, _ = sorted(world.root.glob("mlruns/**/model_summary.txt"), key=lambda path: path.stat().st_mtime)
    assert summary.read_text(encoding="utf-8").strip() in TUTORIAL
    assert image.imread(world.root / "state.png").shape[:2] == (900, 1100)


def has(python: Path, module: str) -> bool:
    code = f"import sys, importlib.util; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-I", "-c", code], check=False).returncode == 0


def test_captions_of_the_tutorial_are_right_and_of_several_lengths(world: World) -> None:
    """Without the reviews of IMDB."""
    (world.root / "examples").symlink_to(ROOT / "examples")
    ((block, rest),) = (step for step in steps_of(TUTORIAL) if CAPTIONS in step[0])
    told = run_block(f"exec 2>&1\n{block}", world)
    check_printed(block, rest, told)
    assert float(told.partition("%")[0].split()[-1]) >= 95
    assert "Captions have 3, 7, 8 words." in told
    assert image.imread(world.root / "captions.png").shape[:2] == (850, 1100)


def check_printed(block: str, rest: str, told: str) -> None:
    """Check that a block printed what the page shows after it."""
    figures = any(part in block for part in ("train", CAPTIONS, "state.py", "shuffle.py"))
    printed = plain(told, figures=figures)
    for shown in re.findall(r"^```text\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL):
        lines = [shown] if "train" not in block else shown.splitlines()  # log lines, each after its time
        assert all(plain(line, figures=figures) in printed for line in lines), f"{block}\n{printed}"


def plain(text: str, *, figures: bool) -> str:
    """Text without line ends; with ``figures`` of the machine's arithmetic and speed, without numbers and ids."""
    text = " ".join(text.split())
    return re.sub(r"\b[0-9a-f]{8}\b|\d+(\.\d+)?", "#", text) if figures else text


@pytest.mark.parametrize(
    ("training", "code", "comment"),
    [
        ("--seed 4", 0, "version 1 is the champion"),
        ("--seed 5", 0, "**sample-sentiment version 3 may be promoted.**"),
        ("--seed 4 --set epochs=1 --set learning_rate=0.0001", 4, "- **no**, better: "),
    ],
)
def test_ci(registry: World, training: str, code: int, comment: str) -> None:
    """The versions are registered already: no case trains."""
    if shutil.which("jq") is None:
        pytest.skip("needs Debian's package jq; CI installs it")
    (script,) = blocks("ci.md")
    registry.run("promote", "1", "--dataset", "sample")
    (registry.root / "model.sh").write_text(script)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    margins = {"SENTIFLOW_GATE_MARGIN": "0.1", "SENTIFLOW_GATE_SLICE_MARGIN": "0.2"}
    options = f"--recipe tutorial --set sequence_length=80 {training}"
    done = subprocess.run(
        ["sh", "model.sh"], env=registry.environment(PATH=path, TRAIN=options, **margins), cwd=registry.root,
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert comment in (registry.root / "comment.md").read_text()


def test_ci_s_workflow_runs_the_script_and_gives_the_comment() -> None:
    (workflow,) = re.findall(r"^```yaml\n(.*?)^```$", (GUIDES / "ci.md").read_text(), re.M | re.S)
    steps = yaml.safe_load(workflow)["jobs"]["train"]["steps"]
    assert "sh ci/model.sh" in [step.get("run") for step in steps]
    assert "--body-file comment.md" in steps[-1]["run"] and steps[-1]["if"].startswith("always()")
