"""The folder of a command, variables of Keras, sockets, and what is said where an extra is not installed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sentiflow.children import Child, stop
from sentiflow.environment import FOLDER, expanded, here, lacking, open_socket, shortened
from sentiflow.settings import Settings
from tests.polling import until
from tests.world import World

LEAVE = "import os; from sentiflow.environment import expanded, here, leave_folder; leave_folder(); "


def left(start: Path, shows: str, **variables: str) -> str:
    """What a process says that was started in a folder and left it."""
    code = f"{LEAVE}print({shows})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=start, env={**os.environ, **variables}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_command_works_nowhere_and_takes_relative_paths_from_where_it_was_started(tmp_path: Path) -> None:
    shows = "os.getcwd(), expanded('in.csv'), expanded('/in.csv'), here()"
    assert left(tmp_path, f"*({shows}), sep=' '") == f"/ {tmp_path}/in.csv /in.csv {tmp_path}"
    assert left(tmp_path, "os.path.exists(expanded('~'))") == "True"


def test_a_child_of_a_command_keeps_its_folder_and_another_command_has_its_own(tmp_path: Path) -> None:
    inherited = {FOLDER: "/elsewhere"}
    assert left(Path("/"), "here()", **inherited) == "/elsewhere"
    assert left(tmp_path, "here()", **inherited) == str(tmp_path)


def test_a_folder_that_was_removed_is_no_reason_to_take_paths_from_another(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.rmdir({str(gone)!r}); {LEAVE}print(expanded('in.csv'))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=gone, env={**os.environ, "PWD": str(gone)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{gone}/in.csv"


def test_modules_of_a_relative_folder_are_found_from_anywhere(tmp_path: Path) -> None:
    """An empty entry would be the current folder."""
    assert left(tmp_path, "os.environ['PYTHONPATH']", PYTHONPATH=":lib:/usr/x") == f"{tmp_path}/lib:/usr/x"


def test_called_from_python_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    assert (here(), expanded("in.csv")) == (tmp_path, Path("in.csv"))
    assert Settings(data_dir="data").data_dir == tmp_path / "data"


def test_settings_of_a_command_are_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    made = Settings(data_dir="mine", tracking_uri="sqlite:///relative.db", artifact_root="a")
    assert made.data_dir == tmp_path / "mine"
    assert (made.sqlite_file, made.artifacts) == (tmp_path / "relative.db", tmp_path / "a")


def test_messages_show_paths_below_the_folder_as_they_were_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    said = f"{tmp_path}/in.csv, /mnt{tmp_path}/in.csv and {tmp_path}/a/b.rejects"
    assert shortened(said) == f"in.csv, /mnt{tmp_path}/in.csv and a/b.rejects"


def test_a_child_works_nowhere_and_knows_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    child = Child(["http.server", "0"], dict(os.environ))
    try:
        assert Path(f"/proc/{child.pid}/cwd").readlink() == Path("/")
        environ = Path(f"/proc/{child.pid}/environ")
        variables = until(environ.read_bytes, "its environment").split(b"\0")  # empty for a moment
        assert {f"{FOLDER}={tmp_path}".encode(), b"PYTHONSAFEPATH=1"} <= set(variables)
    finally:
        stop([child], 0)


@pytest.mark.story
def test_neither_variables_nor_a_file_of_keras_choose_what_computes(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"floatx": "float16", "backend": "torch"}')
    code = "import sentiflow.training.network.model, keras; print(keras.config.backend(), keras.config.floatx())"
    theirs = {"KERAS_BACKEND": "torch", "KERAS_NNX_ENABLED": "true", "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | theirs, capture_output=True, text=True, check=True
    )
    assert done.stdout == "tensorflow float32\n"


def test_an_answer_in_two_parts_does_not_wait_for_the_client_to_confirm_the_first() -> None:
    listener = open_socket("127.0.0.1", 0, "")
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


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
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["nowhere-to-be-found>=2; extra == 'some'"])
    assert (lacking("some"), lacking("other")) == ("nowhere-to-be-found>=2", "")
