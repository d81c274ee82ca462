"""What the files of the stack say, as Compose, pip and Prefect read them."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentiment.settings import Settings
from tests.stack.compose import read_config, read_image
from tests.stack.team import PARTS, need_programs
from tests.world import ROOT

PROFILES = ["redis", "dask", "tools"]


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("env") / ".env"
    subprocess.run(["sh", ROOT / "stack" / "env.sh", file], check=True, capture_output=True)
    return file


@pytest.fixture(scope="module")
def services(passwords: Path) -> dict[str, Any]:
    need_programs()
    services: dict[str, Any] = read_config(ROOT, [f"--env-file={passwords}", "--profile=*"])["services"]
    return services


@pytest.mark.parametrize("profiles", [[], *([name] for name in PROFILES), PROFILES])
def test_compose_accepts_the_file_for_every_profile(passwords: Path, profiles: list[str]) -> None:
    need_programs()
    redis = [f"--env-file={ROOT / 'stack' / 'redis.env'}"] if "redis" in profiles else []
    config = read_config(ROOT, [f"--env-file={passwords}", *redis, *(f"--profile={name}" for name in profiles)])
    broker = config["services"]["prefect"]["environment"]["PREFECT_SERVER_EVENTS_MESSAGING_BROKER"]
    assert broker == ("prefect_redis.messaging" if redis else "prefect.server.utilities.messaging.memory")
    assert {"postgres", "mlflow", "prefect", "worker", "api"} <= set(config["services"])


def test_without_passwords_compose_says_what_to_do(tmp_path: Path) -> None:
    need_programs()
    (tmp_path / ".env").touch()
    with pytest.raises(SystemExit, match="run make env"):
        read_config(ROOT, [f"--env-file={tmp_path / '.env'}"])


def test_make_env_writes_what_is_missing_and_changes_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SENTIFLOW_EXPERIMENT=mine\nREDIS_PASSWORD=chosen")
    for _ in range(2):
        subprocess.run(["sh", ROOT / "stack" / "env.sh", file], check=True, capture_output=True)
    names = [line.partition("=")[0] for line in file.read_text().splitlines()]
    values = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert len(names) == len(set(names)) == 9
    assert (values["SENTIFLOW_EXPERIMENT"], values["REDIS_PASSWORD"]) == ("mine", "chosen")
    made = [value for name, value in values.items() if name not in ("SENTIFLOW_EXPERIMENT", "REDIS_PASSWORD")]
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in made) and len(set(made)) == 7
    assert file.stat().st_mode & 0o777 == 0o600


def test_only_what_a_browser_needs_is_published_and_to_this_machine_alone(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert {name: [port["target"] for port in given] for name, given in ports.items()} == {
        "mlflow": [5000], "prefect": [4200], "api": [8000],
    }  # fmt: skip
    assert {port["host_ip"] for given in ports.values() for port in given} == {"127.0.0.1"}


def test_images_are_pinned_and_what_serves_is_checked_and_restarts(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[a-z-]+:\d+\.\d+[.\w-]*", service["image"]), name
        if service.get("restart"):
            built = service.get("build")
            health = service.get("healthcheck") or read_image(ROOT / "Dockerfile", built["target"]).health
            assert health, name
        for before, how in service.get("depends_on", {}).items():
            long_lived = services[before].get("restart") is not None
            assert how["condition"] == ("service_healthy" if long_lived else "service_completed_successfully")


def test_no_password_stands_in_a_file(passwords: Path, services: dict[str, Any]) -> None:
    secret = [line.split("=", 1)[1] for line in passwords.read_text().splitlines()]
    for name, service in services.items():
        words = json.dumps([service.get("command"), service.get("entrypoint"), service.get("build")])
        assert not [value for value in secret if value in words], f"{name}: processes can be listed by anyone"
    for part in PARTS:
        for file in (ROOT / part).rglob("*") if (ROOT / part).is_dir() else [ROOT / part]:
            if file.is_file():
                assert not re.search(
                    r"(PASSWORD|SECRET_KEY|AUTH_STRING)[\"']?[=:] ?[\w-]{8,}\s*$", file.read_text(), re.M
                )


def test_every_setting_of_a_flow_reaches_the_worker(services: dict[str, Any]) -> None:
    elsewhere = {"ui_url", "data_dir", "artifact_root", "prefect_port"}  # the image's, or of one person's machine
    wanted = {f"SENTIFLOW_{name.upper()}" for name in Settings.model_fields if name not in elsewhere}
    serving = {name for name in wanted if name.startswith("SENTIFLOW_SERVE_")}
    assert wanted - serving <= set(services["worker"]["environment"])
    assert serving - {"SENTIFLOW_SERVE_HOST", "SENTIFLOW_SERVE_PORT"} <= set(services["api"]["environment"])


def test_the_version_is_the_same_wherever_it_stands(services: dict[str, Any]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {service["image"] for service in services.values() if service.get("build")}
    assert images == {f"sentiflow-pipeline:{version}", f"sentiflow-serve:{version}"}
    docker = yaml.safe_load((ROOT / "stack" / "prefect-docker.yaml").read_text())["deployments"]
    assert {each["work_pool"]["job_variables"]["image"] for each in docker} == {f"sentiflow-pipeline:{version}"}


def test_the_images_are_not_root_s_and_hold_what_the_locks_say() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    for name in ("serve", "pipeline"):
        (stage,) = (stage for stage in stages if stage.splitlines()[0].endswith(f" AS {name}"))
        assert "\nUSER sentiflow\n" in stage
    assert re.search(r"^FROM python:3\.11\.\d+-slim", text, re.M)
    assert "ARG " not in text, "what is built with stays in an image's history"
    pins = [set(re.findall(r"^([\w.-]+==[^ ]+)", _lock(name), re.M)) for name in ("", "-team", "-serve")]
    assert pins[2] <= pins[0] <= pins[1]
    assert not re.search(r"^(tensorflow|keras|prefect|numba)==", _lock("-serve"), re.M)


def test_prefect_yaml_is_what_the_table_and_the_default_settings_make() -> None:
    for kind, name in (("process", "prefect.yaml"), ("docker", "stack/prefect-docker.yaml"),
                       ("kubernetes", "stack/prefect-kubernetes.yaml")):  # fmt: skip
        assert (ROOT / name).read_text() == _written("--defaults", "--type", kind, "--file", name), (
            "make deployments"
        )


def test_other_work_pools_get_the_same_deployments_with_an_image_and_resources() -> None:
    process, docker, kubernetes = (
        yaml.safe_load((ROOT / name).read_text())["deployments"]
        for name in ("prefect.yaml", "stack/prefect-docker.yaml", "stack/prefect-kubernetes.yaml")
    )
    template = json.loads((ROOT / "stack" / "kubernetes-pool.json").read_text())
    for one, two, three in zip(process, docker, kubernetes, strict=True):
        pools = [each.pop("work_pool") for each in (one, two, three)]
        assert one == two == three
        assert pools[1]["job_variables"]["mem_limit"] == "3g"
        assert pools[2]["job_variables"]["memory_limit"] == "3Gi"
        assert set(pools[2]["job_variables"]) <= set(template["variables"]["properties"])
        assert {pool["job_variables"]["image"] for pool in pools[1:]} == {"sentiflow-pipeline:0.1.0"}


def test_jobs_in_containers_get_what_is_set_and_no_secret() -> None:
    given = {
        "SENTIFLOW_GATE_MARGIN": "0.01", "SENTIFLOW_DATA_DIR": "/here/only",
        "SENTIFLOW_LOCK_URL": "postgresql://me:hidden@db/locks", "SENTIFLOW_TRACKING_URI": "http://tracking:5000",
    }  # fmt: skip
    done = _write("--type", "docker", **given)
    first = yaml.safe_load(done.stdout)["deployments"][0]
    env = first["work_pool"]["job_variables"]["env"]
    assert env["SENTIFLOW_GATE_MARGIN"] == "0.01" and env["SENTIFLOW_TRACKING_URI"] == "http://tracking:5000"
    assert "SENTIFLOW_DATA_DIR" not in env and "hidden" not in done.stdout


def test_a_wrong_setting_is_told_before_anything_is_deployed() -> None:
    done = _write(SENTIFLOW_SCHEDULE_TRAIN="every now and then")
    assert done.returncode == 2
    assert "SENTIFLOW_SCHEDULE_TRAIN" in done.stderr and "Traceback" not in done.stderr


def _written(*options: str) -> str:
    done = _write(*options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _write(*options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flows.prefect_yaml", *options], env={**os.environ, **variables},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def _lock(name: str) -> str:
    return (ROOT / f"requirements{name}.lock").read_text()
