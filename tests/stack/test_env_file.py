"""What lines of `.env` change in the services, as Compose reads them."""

from pathlib import Path
from typing import Any

import pytest

from tests.stack.compose import read_config
from tests.stack.team import make_env, need_programs
from tests.world import ROOT


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_env(tmp_path_factory.mktemp("env"))


def test_the_api_serves_the_model_of_the_scheduled_trainings_whatever_else_appears(passwords: Path) -> None:
    assert _with(passwords)["api"]["command"][-2:] == ["--dataset", "imdb"]
    other = _with(passwords, SENTIFLOW_SCHEDULE_DATASET="/inputs/reviews.csv")
    assert other["api"]["command"][-2:] == ["--dataset", "/inputs/reviews.csv"]


def test_the_texts_are_kept_where_the_api_and_the_worker_share_them_and_only_when_asked(passwords: Path) -> None:
    for given, folder in (
        ({}, ""),
        ({"SENTIFLOW_PREDICTION_LOG_DIR": "texts"}, ""),
        ({"PREDICTION_LOG": "on"}, "/texts"),
    ):
        services = _with(passwords, **given)
        for name in ("api", "worker"):
            assert services[name]["environment"]["SENTIFLOW_PREDICTION_LOG_DIR"] == folder
            assert "/texts" in [volume["target"] for volume in services[name]["volumes"]]


def test_the_worker_and_what_deploys_read_the_same_folder_of_the_host(passwords: Path) -> None:
    for given, folder in (({}, str(ROOT / "inputs")), ({"INPUTS": "/srv/tables"}, "/srv/tables")):
        services = _with(passwords, **given)
        for name in ("worker", "deploy"):
            (volume,) = (each for each in services[name]["volumes"] if each["target"] == "/inputs")
            assert (volume["source"], volume["read_only"]) == (folder, True)


def _with(passwords: Path, **settings: str) -> dict[str, Any]:
    """The services, with these in .env, too."""
    need_programs()
    file = passwords.with_name("other.env")
    file.write_text(passwords.read_text() + "".join(f"{name}={value}\n" for name, value in settings.items()))
    services: dict[str, Any] = read_config(ROOT, [f"--env-file={file}"])["services"]
    return services
