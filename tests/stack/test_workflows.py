"""What runs on the project's behalf elsewhere: pinned, and with no more rights than it needs."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from sentiflow.store.sqlite import REVISIONS
from tests.world import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_and_keep_no_credentials(file: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_what_releases_and_audits_run_is_installed_by_hashes_alone() -> None:
    """Red if a release were built by whatever an index gives out that day, or by what its tools need."""
    folder = ROOT / ".github"
    files = [folder / "workflows" / "release.yml", folder / "workflows" / "audit.yml", folder / "release.sh"]
    lines = "\n".join(file.read_text() for file in files).splitlines()
    installing = [line for line in lines if re.search(r"\b(pip3?|pipx|uv)\b.* (install|run)\b|\buvx\b", line)]
    hashed = [line for line in installing if "--require-hashes" in line]
    assert len(hashed) == 2
    assert [line.split()[-2:] for line in installing if line not in hashed] == [["--no-deps", "dist/*.whl"]]
    assert "make dist" in lines
    recipe = (ROOT / "Makefile").read_text().partition("\ndist:")[2].partition("\n\n")[0]
    assert "--require-hashes -r requirements-release.lock" in recipe
    assert recipe.count("-m build") == recipe.count("-m build --no-isolation") == 1


def test_the_range_of_mlflow_ends_with_the_last_release_whose_tables_are_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (mlflow,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "mlflow")
    major, minor = Version(list(REVISIONS.values())[-1]).release
    assert mlflow.specifier.contains(f"{major}.{minor}.9")
    assert not mlflow.specifier.contains(f"{major}.{minor + 1}.0")


@pytest.mark.parametrize("name", ["prefect", "numba", "uvicorn", "keras", "tensorflow"])
def test_what_is_used_beyond_its_interface_is_bounded_at_a_minor_release(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    given = [
        Requirement(each) for each in (*project["project"]["dependencies"], *project["dependency-groups"]["serve"])
    ]
    bounds = [each.specifier for each in given if each.name == name]
    (locked,) = re.findall(rf"^{name}==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert bounds and all(locked in each for each in bounds)
    (upper,) = {Version(part.version) for each in bounds for part in each if part.operator == "<"}
    assert upper.release[0] == Version(locked).release[0] and len(upper.release) == 2


def test_only_the_job_that_attaches_a_release_may_write_and_it_runs_no_code_of_the_repository() -> None:
    workflows = {file.name: yaml.safe_load(file.read_text()) for file in WORKFLOWS}
    own = {
        (name, title): job
        for name, workflow in workflows.items()
        for title, job in workflow["jobs"].items()
        if "permissions" in job
    }
    assert {place: job["permissions"] for place, job in own.items()} == {
        ("release.yml", "attach"): {"contents": "write"}
    }
    steps = own["release.yml", "attach"]["steps"]
    assert not any(re.search(r"checkout|\bsh |python", step.get("uses", step.get("run", ""))) for step in steps)
    assert workflows["release.yml"][True] == {"push": {"tags": ["v*"]}}


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("v1.2.4", "The tag v1.2.4 is not that of the version in pyproject.toml, v1.2.3."),
        ("1.2.3", "The tag 1.2.3 is not that of the version in pyproject.toml, v1.2.3."),
        ("v1.2.3", "CHANGELOG.md says nothing under '## [1.2.3]'."),
    ],
)
def test_a_tag_that_version_or_changelog_do_not_know_is_not_released(tag: str, told: str, tmp_path: Path) -> None:
    done = begin_release(tag, "## [Unreleased]\n\n- Next.\n\n## [1.2.3]\n\n## [1.2.2]\n\n- Old.\n", tmp_path)
    assert (done.returncode, done.stderr.strip()) == (1, told)


def test_a_release_is_described_by_its_part_of_the_changelog(tmp_path: Path) -> None:
    begin_release("v1.2.3", "## [1.2.3] - 2026-01-02\n\n### Added\n\n- This.\n\n## [1.2.2]\n\n- Old.\n", tmp_path)
    assert (tmp_path / "dist" / "notes.md").read_text().strip() == "### Added\n\n- This."


def begin_release(tag: str, changelog: str, folder: Path, **github: str) -> "subprocess.CompletedProcess[str]":
    """Run the script of a release as far as the build, which fails."""
    (folder / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (folder / "CHANGELOG.md").write_text(changelog)
    (folder / "python").write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\n')
    (folder / "python").chmod(0o755)
    return subprocess.run(
        ["sh", ROOT / ".github" / "release.sh", tag], cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **github},
    )  # fmt: skip
