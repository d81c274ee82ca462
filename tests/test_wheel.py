"""The wheel, installed into an environment of its own and used in an empty folder.

`WHEEL_PROGRAMS` names the programs of an environment that was made by `pip install` of the wheel alone.
"""

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.hostile import hostile
from tests.polling import until
from tests.servers import answers, free_port
from tests.world import ROOT

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    source = folder / "source"  # setuptools writes beside the code
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    subprocess.run([*build, "--wheel-dir", folder, source], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs() -> Path:
    if not (made := os.environ.get("WHEEL_PROGRAMS")):
        pytest.skip("needs an environment with the wheel alone: .ci/wheel makes one")
    return Path(made)


def test_the_wheel_holds_what_is_typed_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    bundled = {f"sentiflow/bundled/{file}" for file in ("flows/prefect.yaml", "tasks/training.py")}
    assert {"sentiflow/py.typed", *bundled} <= set(names)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sentiflow"}
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    told = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "Classifier: Typing :: Typed" in told and "Keywords: " in told and "\nAuthor: " in told


def variables(programs: Path, home: Path) -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    theirs = ("SENTIFLOW_", "PREFECT_", "PYTHON")
    usual = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return usual | {"HOME": str(home), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def running(
    *arguments: str, at: Path, environment: dict[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as file:
        process = subprocess.Popen(["sentiflow", *arguments], cwd=at, env=environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130), log.read_text()


def test_the_whole_way_in_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    environment = variables(programs, tmp_path / "home")
    home = tmp_path / "mine"
    home.mkdir()

    def run(*arguments: str, at: Path = home, errors: bool = True) -> str:
        done = subprocess.run(
            ["sentiflow", *arguments], cwd=at, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout if errors else done.stdout

    assert run("--version").startswith("sentiflow ")
    told = run("train", "--dataset", "sample", "--recipe", "tutorial", "--set", "epochs=2")
    assert f"Store: sqlite:///{home}/mlruns/mlflow.db" in "\n".join(told.splitlines()[:2])
    assert "tutorial" in run("runs")
    assert "champion" in run("promote", "--dataset", "sample")
    assert re.search(r"(positive|negative) +0\.\d+", run("predict", "--dataset", "sample", "A wonderful film."))
    assert {path.name for path in home.iterdir()} == {"mlruns", "data"}
    with hostile(tmp_path / "came", "mlruns", "data") as theirs:
        run("train", "--dataset", "sample", "--recipe", "tutorial", "--set", "epochs=1", at=theirs.folder)
        assert json.loads(run("runs", "--json", at=theirs.folder, errors=False))
    assert theirs.reached == []
    for name in ("flows", "tasks"):  # another project's, in the current folder and on its path
        (home / f"{name}.py").write_text("raise SystemExit('theirs was run')\n")
    environment["PYTHONPATH"] = str(home)
    assert "tutorial" in run("runs")
    log = tmp_path / "log"
    port = free_port()
    with running("serve", "--port", str(port), at=home, environment=environment, log=log) as served:
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), told=log.read_text, process=served)
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json={"text": "good"}, trust_env=False, timeout=60)
        assert answer.status_code == 200
    port = free_port()
    with running("ui", "--port", str(port), at=home, environment=environment, log=log):
        until((home / "data" / "ui" / f"127.0.0.1:{port}.json").exists, "a note of the address")
        assert httpx.get(f"http://127.0.0.1:{port}", trust_env=False, timeout=60).status_code == 401
    environment["SENTIFLOW_PREFECT_PORT"] = str(free_port())
    environment["SENTIFLOW_SCHEDULE_RECIPE"] = "tutorial"
    with running("schedule", "--dataset", "sample", at=home, environment=environment, log=log):
        until(lambda: "Prefect UI: " in log.read_text(), "the schedule")
        run("trigger", "train")
    assert "v2" in run("runs")
