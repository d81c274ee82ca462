"""Tests of the settings."""

import logging
import traceback
from pathlib import Path

import pytest

from sentiflow import settings as module
from sentiflow.errors import UsageError
from sentiflow.settings import load_settings, project_root

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project root without a developer's own .env."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(module, "project_root", lambda: root)
    return root


def test_without_any_setting_everything_stands_in_the_project(empty_root: Path) -> None:
    assert project_root() == ROOT  # the function as imported, before the fixture replaced it
    settings = load_settings()
    assert settings.data_dir == empty_root / "data"
    assert settings.tracking_uri == f"sqlite:///{empty_root}/mlruns/mlflow.db"
    assert settings.artifacts == empty_root / "mlruns" / "artifacts"
    assert list(empty_root.iterdir()) == []  # nothing is made


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("SENTIFLOW_EXPERIMENT", "mine", "experiment", "mine"),
        ("SENTIFLOW_DOWNLOAD_TIMEOUT", "2.5", "download_timeout", 2.5),
        ("SENTIFLOW_IMDB_SHA256", " " + "AB" * 32 + "\n", "imdb_sha256", "ab" * 32),
    ],
)
def test_the_environment_overrides_a_default(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), field) == expected


def test_the_environment_wins_over_the_file_env(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_root / ".env").write_text("SENTIFLOW_EXPERIMENT=from-file\n", encoding="utf-8")
    monkeypatch.setenv("SENTIFLOW_EXPERIMENT", "from-environment")
    assert load_settings().experiment == "from-environment"


@pytest.mark.parametrize("name", ["DATA_DIR", "IMDB_SHA256", "DOWNLOAD_RETRIES"])
def test_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    default = getattr(load_settings(), name.lower())
    monkeypatch.setenv(f"SENTIFLOW_{name}", "")
    assert getattr(load_settings(), name.lower()) == default


@pytest.mark.parametrize("name", ["data_dir", "artifact_root", "gate_behaviour"])
def test_a_relative_folder_is_taken_from_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"SENTIFLOW_{name.upper()}", "here/it/is")
    assert getattr(load_settings(), name) == tmp_path / "here/it/is"


@pytest.mark.parametrize(
    ("name", "value"), [("DATA_DIR", "/srv/50%25"), ("TRACKING_URI", "sqlite:////srv/a?b/my.db")]
)
def test_a_path_that_means_another_one_in_the_address_of_a_database_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """SQLAlchemy would open /srv/50% and /srv/a."""
    monkeypatch.setenv(f"SENTIFLOW_{name}", value)
    with pytest.raises(UsageError, match=f"SENTIFLOW_{name}: a path with % or \\? means another one"):
        load_settings()


@pytest.mark.parametrize(
    ("uri", "root", "file", "artifacts"),
    [
        ("sqlite:///runs/my.db", "", "{here}/runs/my.db", "{here}/runs/artifacts"),
        ("sqlite:////srv/my.db", "", "/srv/my.db", "/srv/artifacts"),
        ("sqlite:////srv/my.db", "/files", "/srv/my.db", "/files"),
        ("http://mlflow:5000", "/files", None, None),
        ("postgresql://db/mlflow", "", None, None),
    ],
)
def test_the_store_decides_on_its_file_and_artifacts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uri: str, root: str, file: str | None, artifacts: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("SENTIFLOW_ARTIFACT_ROOT", root)
    settings = load_settings()
    for found, expected in ((settings.sqlite_file, file), (settings.artifacts, artifacts)):
        assert found == (None if expected is None else Path(expected.format(here=tmp_path)))


@pytest.mark.parametrize("name", ["SENTIFLOW_IMDB_SHA256", "SENTIFLOW_WORD_INDEX_SHA256"])
@pytest.mark.parametrize("value", ["abc", "g" * 64, "a" * 65])
def test_a_malformed_hash_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=rf"^{name}: .*, got '{value}'\."):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"), [("DOWNLOAD_RETRIES", "-1"), ("DOWNLOAD_TIMEOUT", "0"), ("DOWNLOAD_TIMEOUT", "soon")]
)
def test_a_value_out_of_range_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SENTIFLOW_{name}", value)
    with pytest.raises(UsageError, match=f"^SENTIFLOW_{name}: .*got '{value}'"):
        load_settings()


def test_an_unknown_variable_is_warned_of_with_the_near_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SENTIFLOW_IMDB_SHA", "x")
    load_settings()
    monkeypatch.setenv("SENTIFLOW_FOO", "x")
    load_settings()
    near = "Setting SENTIFLOW_IMDB_SHA is unknown; did you mean SENTIFLOW_IMDB_SHA256?"
    none = "Setting SENTIFLOW_FOO is unknown."
    assert caplog.record_tuples == [("sentiflow.settings", logging.WARNING, told) for told in (near, none)]


def test_an_unknown_name_in_the_file_env_is_warned_of_once(
    empty_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (empty_root / ".env").write_text("# SENTIFLOW_OLD=1\nSECRETS=x\nexport SENTIFLOW_EXPERIMNT = night\n")
    for _ in range(2):
        load_settings()
    assert caplog.messages == ["Setting SENTIFLOW_EXPERIMNT is unknown; did you mean SENTIFLOW_EXPERIMENT?"]


def test_who_names_the_store_by_mlflows_variable_alone_is_warned(
    empty_root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow's own client sets that variable to the store in use, which says nothing."""
    for value in ("", f"sqlite:///{empty_root}/mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
        load_settings()
    assert not caplog.messages
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    for _ in range(2):
        load_settings()
    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", "http://mlflow:5000")
    load_settings()
    assert caplog.messages == ["MLFLOW_TRACKING_URI is not read; name the store by SENTIFLOW_TRACKING_URI."]


@pytest.mark.parametrize(
    "uri", ["mlruns", "file:///tmp/mlruns", "sqlite:///:memory:", "sqlite://", "sqlite:///~nobody-there/mlflow.db"]
)
def test_a_store_that_cannot_be_used_is_refused_by_its_variable(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", uri)
    with pytest.raises(UsageError, match="SENTIFLOW_TRACKING_URI"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRACKING_URI", "me:T0SECRET@mlflow.example"),
        ("TRACKING_URI", "postgresql://me:p@T0SECRET@db/x"),
        ("UI_URL", "http://me:p/T0SECRET@mlflow.example"),
        ("DASK_ADDRESS", "http://me:T0SECRET@scheduler"),
        ("NOTIFY_URL", "chat.example/T0SECRET"),
        ("NOTIFY_URL", "https://me:p[T0SECRET@chat.example"),
    ],
)
def test_an_address_or_secret_that_is_refused_gives_no_password_away(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"SENTIFLOW_{name}", value)
    with pytest.raises(UsageError, match=f"SENTIFLOW_{name}: ") as caught:
        load_settings()
    assert "T0SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "line",
    [
        "SENTIFLOW_GATE_MARGIN: 0.1",
        "export SENTIFLOW_EXPERIMENT='mine",
        "SENTIFLOW_EXPERIMENT",
        "sentiflow_experiment: a",
    ],
)
def test_a_line_of_the_file_env_that_cannot_be_read_is_refused(empty_root: Path, line: str) -> None:
    (empty_root / ".env").write_text(f"# ours\n{line}\nSENTIFLOW_GATE_MARGIN=0.2\n")
    with pytest.raises(UsageError, match=r"\.env: line 2 cannot be read\."):
        load_settings()


def test_a_file_of_settings_that_is_not_utf8_is_refused(empty_root: Path) -> None:
    (empty_root / ".env").write_bytes(b"# Passw\xf6rter\n")
    with pytest.raises(UsageError, match=r"\.env cannot be read"):
        load_settings()
