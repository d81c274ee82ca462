"""What a run keeps of its code, packages and machine."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentiflow.training import provenance
from sentiflow.training.provenance import training_key
from sentiflow.training.recipes import load_recipe
from tests.world import ROOT

CODE, SETTING = Path("sentiflow/training/network/kernels.py"), Path("sentiflow/sweeps/search_space.toml")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    for each in (provenance.sources, provenance.packages, provenance.checkout):
        each.cache_clear()


def found() -> provenance.Checkout:
    made = provenance.checkout()
    assert made is not None
    return made


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of the project that the code seems to run from."""
    return clone(tmp_path / "checkout", monkeypatch)


def clone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    monkeypatch.setattr(provenance, "_ROOT", folder)
    forget()
    return folder


def change(project: Path) -> None:
    """What somebody at work leaves: changes, one staged, a new file, a removed one, and what git ignores."""
    (project / CODE).write_text((project / CODE).read_text() + "# caf\xe9\n", encoding="latin-1")
    (project / "tasks" / "new.py").write_bytes(b"# new, without a line's end")
    (project / "tasks" / "sweep.py").unlink()
    (project / SETTING).write_bytes(bytes(range(256)))
    git(project, "add", str(SETTING))
    (project / "docs" / "mine.md").write_text("notes\n")
    (project / ".env").write_text("PASSWORD=S3CRET\n")
    (project / "sentiflow" / "__pycache__").mkdir()
    (project / "sentiflow" / "__pycache__" / "x.pyc").write_text("S3CRET")


def test_the_patch_applied_to_the_commit_gives_the_same_code(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if a new, a removed or a binary file were missing in it, or the user's settings of git spoilt it."""
    for name, value in (("diff.noprefix", "true"), ("color.ui", "always"), ("diff.external", "false")):
        git(project, "config", name, value)
    change(project)
    tags = provenance.provenance_tags()
    provenance.write_files(tmp_path / "kept")
    other = clone(tmp_path / "other", monkeypatch)
    assert provenance.provenance_tags()["mlflow.sentiflow.code.digest"] != tags["mlflow.sentiflow.code.digest"]
    git(other, "checkout", "--quiet", tags["git.commit"])
    git(other, "apply", str(tmp_path / "kept" / "uncommitted.patch"))
    forget()
    assert provenance.provenance_tags()["mlflow.sentiflow.code.digest"] == tags["mlflow.sentiflow.code.digest"]
    assert (other / SETTING).read_bytes() == bytes(range(256))
    assert provenance.provenance_tags()["git.dirty"] == tags["git.dirty"] == "true"
    assert tags["git.patch"] == "uncommitted.patch"


def test_the_patch_holds_our_own_files_alone_and_leaves_the_index_as_it_is(project: Path) -> None:
    """Red if a secret or a note came into the store, or a user's staged changes were others afterwards."""
    change(project)
    before, objects = git(project, "status", "--porcelain"), list((project / ".git").rglob("objects/*/*"))
    patch = found().patch
    assert b"S3CRET" not in patch and b"mine.md" not in patch
    assert {line.split()[-1] for line in patch.splitlines() if line.startswith(b"diff --git ")} == {
        f"b/{name}".encode() for name in (CODE, SETTING, "tasks/new.py", "tasks/sweep.py")
    }
    assert git(project, "status", "--porcelain") == before
    assert list((project / ".git").rglob("objects/*/*")) == objects


def test_a_change_of_the_docs_alone_is_none_of_the_code(project: Path, tmp_path: Path) -> None:
    (project / "README.md").write_text("other\n")
    (project / CODE).touch()
    provenance.write_files(tmp_path / "kept")
    tags = provenance.provenance_tags()
    assert tags["git.dirty"] == "false" and "git.patch" not in tags
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"sources.txt", "packages.txt"}


def test_code_that_is_installed_names_no_commit_of_the_repository_around_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if a wheel in a project of the user's gave the run that project's commit, patch and lock."""
    packages = project / "site-packages"
    for name in ("flows", "tasks", "sentiflow"):
        shutil.copytree(project / name, packages / name)
    digest = provenance.provenance_tags()["mlflow.sentiflow.code.digest"]
    monkeypatch.setattr(provenance, "_ROOT", packages)
    forget()
    tags = provenance.provenance_tags()
    assert {tags[name] for name in ("git.commit", "git.dirty", "mlflow.sentiflow.lock.digest")} == {"unknown"}
    assert tags["mlflow.sentiflow.code.digest"] == digest


def test_other_data_code_or_packages_make_another_training(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(data: str = "d", start: str = "none") -> str:
        forget()
        return training_key(load_recipe("tutorial"), data, 4, start)

    first = key()
    assert first == key()
    assert first != key("e")
    assert first != key(start="base")
    for other in ("flows/train.py", "sentiflow/serving/app.py", "sentiflow/training/context.py"):
        (project / other).write_text("pass\n")  # how it is started, kept and served decides none
    assert first == key()
    (tmp_path / "packages" / "numpy-9.0.dist-info").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "packages")
        assert first != key()
    keys = [first]
    for deciding in (
        CODE,
        "sentiflow/training/recipes.py",
        "sentiflow/scoring/vocabulary.py",
        "sentiflow/data/reviews.py",
    ):
        (project / deciding).write_text("pass\n")
        keys.append(key())
    assert len({*keys}) == len(keys)


def test_without_git_nothing_is_known_of_the_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if git's failure ended a training."""
    monkeypatch.setenv("PATH", str(project))
    tags = provenance.provenance_tags()
    assert (tags["git.commit"], tags["git.dirty"]) == ("unknown", "unknown") and "git.patch" not in tags
