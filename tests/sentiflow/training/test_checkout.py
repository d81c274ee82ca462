"""Which commit a run names, and what differs from it, whatever git is told by variables, settings and files."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sentiflow.training import checkout
from tests.world import ROOT

CODE = "sentiflow/training/network/kernels.py"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    checkout.compare.cache_clear()
    checkout.patch.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    own = ("-c", "user.name=me", "-c", "user.email=me@example")
    command = ["git", "-C", folder, *own, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, tmp_path / "project"], check=True)
    return tmp_path / "project"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another project, which also has a pyproject.toml."""
    git(tmp_path, "init", "--quiet", "other")
    (tmp_path / "other" / "pyproject.toml").write_text("[project]\n")
    git(tmp_path / "other", "add", ".")
    git(tmp_path / "other", "commit", "--quiet", "--message", "mine")
    return tmp_path / "other"


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{other}/.git"},
        {"GIT_WORK_TREE": "{other}"},
        {"GIT_INDEX_FILE": "{other}/.git/index"},
        {"GIT_OBJECT_DIRECTORY": "{other}/.git/objects"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": "{other}"},
        {"GIT_LITERAL_PATHSPECS": "1"},
    ],
    ids=lambda variables: "+".join(variables),
)  # fmt: skip
def test_variables_of_git_do_not_decide_which_commit_a_run_names(
    project: Path, other: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Red if a hook of git's, or a variable in a user's shell, gave the run another project's commit or patch."""
    (project / CODE).write_text("changed\n")
    (project / "tasks" / "new.py").write_text("new\n")
    expected = git(project, "rev-parse", "HEAD").strip()
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(other=other, project=project))
    found = checkout.compare(project)
    assert found == checkout.Difference(expected, (CODE,), ("tasks/new.py",))
    made = checkout.patch(project)
    assert made.text.count(b"diff --git ") == 2 and not made.left_out


def _new_file(project: Path) -> None:
    (project / "sentiflow" / "zz.py").write_text("new\n")


def _change(project: Path) -> None:
    with (project / CODE).open("a") as file:
        file.write("# more\n")


def _change_unseen(project: Path) -> None:
    """As many bytes, and the time of change of before."""
    about = (project / CODE).stat()
    content = (project / CODE).read_text()
    (project / CODE).write_text(content.replace("numpy", "nunpy"))
    os.utime(project / CODE, ns=(about.st_atime_ns, about.st_mtime_ns))


def _hide_by_a_setting(*setting: str) -> Callable[[Path], None]:
    return lambda project: git(project, "config", *setting) and None


def _replace_commit(project: Path) -> None:
    """Commit, then let the old commit's name give the new one."""
    before = git(project, "rev-parse", "HEAD").strip()
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "hidden")
    after = git(project, "rev-parse", "HEAD").strip()
    git(project, "reset", "--quiet", "--soft", before)
    git(project, "replace", before, after)


def _exclude(project: Path) -> None:
    (project / ".git" / "info" / "exclude").write_text("zz.py\n")


def _exclude_by_file(project: Path) -> None:
    (project.parent / "ignored").write_text("*.py\n")
    git(project, "config", "core.excludesFile", str(project.parent / "ignored"))


@pytest.mark.parametrize(
    ("change", "hide"),
    [
        (_new_file, _hide_by_a_setting("status.showUntrackedFiles", "no")),
        (_new_file, _exclude),
        (_new_file, _exclude_by_file),
        (_new_file, _replace_commit),
        (_change, lambda project: git(project, "update-index", "--assume-unchanged", CODE)),
        (_change, lambda project: git(project, "update-index", "--skip-worktree", CODE)),
        (_change, _replace_commit),
        (_change, lambda project: git(project, "add", CODE)),
        (_change_unseen, lambda _project: None),
    ],
)
def test_what_differs_from_the_commit_cannot_be_hidden(
    project: Path, change: Callable[[Path], None], hide: Callable[[Path], None]
) -> None:
    """Red if a run of changed code were said to be of the commit as it is."""
    expected = git(project, "rev-parse", "HEAD").strip()
    assert not checkout.compare(project)
    checkout.compare.cache_clear()
    change(project)
    hide(project)
    found = checkout.compare(project)
    assert found and found.commit == expected
    assert set(found.changed + found.new) == {"sentiflow/zz.py" if change is _new_file else CODE}


def test_a_changed_time_or_mode_alone_is_no_change(project: Path) -> None:
    """Red if `touch`, or a file system without modes, made every run dirty."""
    (project / CODE).touch()
    (project / "tasks" / "train.py").chmod(0o755)
    found = checkout.compare(project)
    assert found is not None and not found
    assert checkout.patch(project) == checkout.Patch()


def test_no_program_that_a_repository_names_is_run(project: Path, tmp_path: Path) -> None:
    """Red if settings of a repository ran programs with each training."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 $@ >> {tmp_path}/run\ncat\n")
    program.chmod(0o755)
    for name in ("filter.x.clean", "filter.x.process", "diff.x.command", "diff.x.textconv", "diff.external",
                 "core.fsmonitor", "core.sshCommand", "core.pager"):  # fmt: skip
        git(project, "config", name, str(program))
    (project / ".gitattributes").write_text("*.py filter=x diff=x\n")
    hooks = project / ".git" / "hooks"
    for name in ("post-index-change", "pre-commit", "fsmonitor-watchman"):
        shutil.copyfile(program, hooks / name)
        (hooks / name).chmod(0o755)
    _change(project)
    _new_file(project)
    made = checkout.patch(project)
    assert b"# more" in made.text and made.new == ("sentiflow/zz.py",)
    assert not (tmp_path / "run").exists()


def test_a_patch_takes_source_files_alone_and_names_the_new_ones(project: Path, tmp_path: Path) -> None:
    """Red if a note, a password or what a link leads to came into the store with a training."""
    secret = "API_KEY=S3CRET\n"
    for name in (
        "flows/.secret.txt", "sentiflow/notes.md", "sentiflow/passwords", "sentiflow/.hidden.py",
        "sentiflow/.idea/x.toml", "tasks/data.csv", "docs/mine.py", "mine.toml", "sentiflow/key.pem", "flows/.env",
        "requirements.txt", "sentiflow/py.typed", "sentiflow/training/network/kernels.so",
    ):  # fmt: skip
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(secret)
    (tmp_path / "outside.py").write_text(secret)
    (project / "sentiflow" / "linked.py").symlink_to(tmp_path / "outside.py")
    (project / ".gitignore").open("a").write("\nlocal.py\n")
    (project / "sentiflow" / "local.py").write_text(secret)
    for name in ("flows/a.py", "sentiflow/b.toml", "requirements-mine.lock"):
        (project / name).write_text("new\n")
    made = checkout.patch(project)
    assert b"S3CRET" not in made.text
    assert made.new == ("flows/a.py", "requirements-mine.lock", "sentiflow/b.toml", "sentiflow/linked.py")
    assert made.ignored == ("sentiflow/local.py",)
    found = checkout.compare(project)
    assert (
        found and "sentiflow/training/network/kernels.so" in found.new
    )  # Python would import it in place of kernels.py


def _sparse(name: str, size: int) -> Callable[[Path], None]:
    def make(project: Path) -> None:
        with (project / name).open("wb") as file:
            file.truncate(size)

    return make


@pytest.mark.parametrize(
    "spoil",
    [
        _sparse("flows/table.bin", 900_000_000),
        lambda project: git(project, "init", "--quiet", "sentiflow/vendored"),
        lambda project: os.mkfifo(project / "flows" / "pipe.py"),
        lambda project: (project / "flows" / ".#train.py").symlink_to("me@host.1"),
        lambda project: (project / "flows" / "folder.py").mkdir(),
    ],
    ids=["900 MB", "nested repository", "pipe", "an editor's lock", "folder"],
)
def test_what_is_no_code_costs_not_even_the_patch(project: Path, spoil: Callable[[Path], None]) -> None:
    _change(project)
    spoil(project)
    made = checkout.patch(project)
    assert made.text.count(b"diff --git ") == 1 and not made.left_out


def test_code_that_is_too_large_is_left_out_before_it_is_read(project: Path) -> None:
    _change(project)
    _sparse("flows/generated.py", 2_000_000_000)(project)
    made = checkout.patch(project)
    assert made.text == b"" and made.left_out.startswith("the files that differ have 2,000,0")


@pytest.mark.parametrize(
    "fails", ["read-tree", "ls-files", "update-index", "diff-index", "rev-parse --show-prefix"]
)
def test_a_git_that_fails_half_way_costs_the_patch_alone(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Red if git's failure ended a training."""
    real = shutil.which("git")
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in *"{fails}"*) echo no room >&2; exit 1;; esac\nexec {real} "$@"\n')
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    _change(project)
    _new_file(project)
    made = checkout.patch(project)
    assert (made.text, made.left_out) == (b"", f"git {fails.split()[0]} failed: no room")
