"""What runs on the project's behalf elsewhere: pinned, and with no more rights than it needs."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def test_every_lock_is_audited_each_week() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text())
    assert workflow[True]["schedule"], "PyYAML reads the key `on` as true"
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert any("pip-audit" in step and "requirements*.lock" in step for step in steps)
    assert any("outdated-images.sh" in step for step in steps)


@pytest.mark.parametrize(
    ("image", "tags", "digest", "status"),
    [
        ("postgres:17.10-bookworm", "17.9-bookworm 17.10-bookworm 17.11-trixie 18.1-bookworm", "a" * 64, 0),
        ("postgres:17.10-bookworm", "17.10-bookworm 17.12-bookworm", "a" * 64, 1),
        ("postgres:17.10-bookworm", "17.10-bookworm", "b" * 64, 1),
        ("prom/prometheus:v3.5.0", "v3.4.9 v3.5.0 v3.6.1 latest", "a" * 64, 0),
        ("prom/prometheus:v3.5.0", "v3.5.0 v3.5.1", "a" * 64, 1),
    ],
)
def test_newer_patch_releases_and_newer_builds_of_an_image_are_named(
    image: str, tags: str, digest: str, status: int, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "docker-compose.yml").write_text(f"    image: {image}@sha256:{'a' * 64}\n")
    listed = " ".join(f'\\"{tag}\\",' for tag in tags.split())
    registry = tmp_path / "skopeo"
    registry.write_text(f'#!/bin/sh\n[ "$1" = list-tags ] && echo "{listed}" || echo sha256:{digest}\n')
    registry.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / ".github" / "outdated-images.sh"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert ("is outdated" in done.stdout) == bool(status)
