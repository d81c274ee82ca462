import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentiflow import folder
from sentiflow.children import Child, stop
from sentiflow.settings import Settings
from tests.polling import until

LEAVE = "import os, sys; from sentiflow import folder; folder.leave(); "


def left(start: Path, shows: str, **variables: str) -> str:
    """What a process says that was started in a folder and left it."""
    code = f"{LEAVE}print({shows})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=start, env={**os.environ, **variables}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_command_works_nowhere_and_takes_relative_paths_from_where_it_was_started(tmp_path: Path) -> None:
    shows = "os.getcwd(), folder.expanded('in.csv'), folder.expanded('/in.csv'), folder.here()"
    assert left(tmp_path, f"*({shows}), sep=' '") == f"/ {tmp_path}/in.csv /in.csv {tmp_path}"
    assert left(tmp_path, "os.path.exists(folder.expanded('~'))") == "True"


def test_a_child_of_a_command_keeps_its_folder_and_another_command_has_its_own(tmp_path: Path) -> None:
    inherited = {folder.VARIABLE: "/elsewhere"}
    assert left(Path("/"), "folder.here()", **inherited) == "/elsewhere"
    assert left(tmp_path, "folder.here()", **inherited) == str(tmp_path)


def test_a_folder_that_was_removed_is_no_reason_to_take_paths_from_another(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.rmdir({str(gone)!r}); {LEAVE}print(folder.expanded('in.csv'))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=gone, env={**os.environ, "PWD": str(gone)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{gone}/in.csv"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PREFECT_HOME", "mine", "{}/mine"),
        ("REQUESTS_CA_BUNDLE", "../ca.pem", "{}/../ca.pem"),
        ("PYTHONPATH", ":lib:/usr/x", "{}/lib:/usr/x"),  # the empty entry would be the current folder
        ("SSL_CERT_FILE", "/etc/ca.pem", "/etc/ca.pem"),
        ("AWS_PROFILE", "dev", "dev"),  # a name in a file
        ("GOOGLE_APPLICATION_CREDENTIALS", "key.json", "{}/key.json"),
    ],
)
def test_relative_paths_in_variables_of_other_programs_mean_what_they_meant(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    assert left(tmp_path, f"os.environ[{name!r}]", **{name: value}) == expected.format(tmp_path)


def test_called_from_python_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(folder.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert (folder.here(), folder.expanded("in.csv")) == (tmp_path, Path("in.csv"))
    assert Settings(data_dir="data").data_dir == tmp_path / "data"


def test_settings_of_a_command_are_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    made = Settings(data_dir="mine", tracking_uri="sqlite:///relative.db", artifact_root="a")
    assert made.data_dir == tmp_path / "mine"
    assert (made.sqlite_file, made.artifacts) == (tmp_path / "relative.db", tmp_path / "a")


def test_messages_show_paths_below_the_folder_as_they_were_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    said = f"{tmp_path}/in.csv, /mnt{tmp_path}/in.csv and {tmp_path}/a/b.rejects"
    assert folder.shortened(said) == f"in.csv, /mnt{tmp_path}/in.csv and a/b.rejects"


def test_a_child_works_nowhere_and_knows_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(folder.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    child = Child(["http.server", "0"], dict(os.environ))
    try:
        assert Path(f"/proc/{child.pid}/cwd").readlink() == Path("/")
        environ = Path(f"/proc/{child.pid}/environ")
        variables = until(environ.read_bytes, "its environment").split(b"\0")  # empty for a moment
        assert {f"{folder.VARIABLE}={tmp_path}".encode(), b"PYTHONSAFEPATH=1"} <= set(variables)
    finally:
        stop([child], 0)
