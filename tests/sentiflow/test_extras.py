"""What a command says where the extra that it needs is not installed."""

from pathlib import Path

import pytest

from sentiflow.extras import lacking
from tests.world import World


def without(name: str, folder: Path) -> str:
    """A folder of modules in which a package stands in a version before all that fit, and cannot be imported."""
    told = folder / f"{name}-0.1.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (folder / f"{name}.py").write_text("raise ImportError\n")
    return str(folder)


@pytest.mark.parametrize(
    ("package", "extra", "variables"),
    [("optuna", "sweep", {}), ("apprise", "notify", {"SENTIFLOW_NOTIFY_URL": "json://localhost"})],
)
def test_a_command_without_its_extra_is_refused_in_one_line_with_the_command_that_adds_it(
    package: str, extra: str, variables: dict[str, str], world: World, tmp_path: Path
) -> None:
    command = "sweep" if extra == "sweep" else "train"
    done = world.run(
        command, "--dataset", "sample", PYTHONPATH=without(package, tmp_path / "modules"), **variables
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert f"{package}>=" in last and last.endswith(f"pip install 'sentiflow[{extra}]'")


def test_a_package_that_is_not_there_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiflow.extras.requires", lambda _: ["nowhere-to-be-found>=2; extra == 'some'"])
    assert (lacking("some"), lacking("other")) == ("nowhere-to-be-found>=2", "")
