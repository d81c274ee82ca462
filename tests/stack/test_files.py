"""What the files of the stack say, as Compose, pip and Prefect read them."""

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect_docker.worker import DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from sentiflow.settings import Settings
from tests.stack.compose import FILES, HEALTH_OF_IMAGE, make_env, read_config
from tests.world import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGE = f"sentiflow-pipeline:{VERSION}"
PROFILES = ["redis", "dask", "proxy", "tools"]
DOCKER_POOL = ROOT / "stack" / "docker-pool.json"


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_env(tmp_path_factory.mktemp("env"))


@pytest.fixture(scope="module")
def services(passwords: Path) -> dict[str, Any]:
    services: dict[str, Any] = read_config(ROOT, [f"--env-file={passwords}", "--profile=*"])["services"]
    return services


@pytest.mark.parametrize("profiles", [[], *([name] for name in PROFILES), PROFILES])
def test_compose_accepts_the_file_for_every_profile(passwords: Path, profiles: list[str]) -> None:
    redis = [f"--env-file={ROOT / 'stack' / 'redis.env'}"] if "redis" in profiles else []
    config = read_config(ROOT, [f"--env-file={passwords}", *redis, *(f"--profile={name}" for name in profiles)])
    broker = config["services"]["prefect"]["environment"]["PREFECT_SERVER_EVENTS_MESSAGING_BROKER"]
    assert broker == ("prefect_redis.messaging" if redis else "prefect.server.utilities.messaging.memory")
    assert {"postgres", "mlflow", "prefect", "worker", "api"} <= set(config["services"])


def test_without_passwords_compose_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    with pytest.raises(SystemExit, match="run make env"):
        read_config(ROOT, [f"--env-file={tmp_path / '.env'}"])


def test_make_env_writes_what_is_missing_and_changes_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SENTIFLOW_EXPERIMENT=mine")
    (tmp_path / "secrets").mkdir(mode=0o755)
    (tmp_path / "secrets" / "REDIS_PASSWORD").write_text("chosen")
    for _ in range(2):
        make_env(tmp_path)
    assert (tmp_path / ".env").read_text() == f"SENTIFLOW_EXPERIMENT=mine\nSECRETS={tmp_path}/secrets\n"
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert made.pop("REDIS_PASSWORD") == "chosen" and len(set(made.values())) == 8
    assert made["PREFECT_LOGIN"].startswith("admin:")
    assert all(re.fullmatch(r"(admin:)?[0-9a-f]{48}", value) for value in made.values())
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in (".env", "secrets")]
    assert modes == [0o600, 0o700], "others of this machine could read the passwords"


def test_comments_and_blanks_after_a_setting_are_no_part_of_it(tmp_path: Path) -> None:
    lines = (
        "  SECRETS = ./my secrets  # ours\r\nMLFLOW_PORT = 5001   # another\nMLFLOW_PUBLIC_URL=https://a/b # it\n"
    )
    (tmp_path / ".env").write_text(lines)
    show = '. "$0/client.sh"; echo "$SENTIFLOW_TRACKING_URI $SENTIFLOW_UI_URL"'
    for command in (["sh", ROOT / "stack" / "env.sh"], ["sh", "-euc", show, ROOT / "stack"]):
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == ["my secrets"]
    assert done.stdout == "http://127.0.0.1:5001 https://a/b\n"


def test_only_what_a_browser_needs_is_published_and_to_this_machine_alone(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert [port["target"] for port in ports.pop("proxy")] == [80, 443], "the way in for others"
    assert {name: [port["target"] for port in given] for name, given in ports.items()} == {
        "mlflow": [5000], "prefect": [4200], "api": [8000], "grafana": [3000],
    }  # fmt: skip
    assert {port["host_ip"] for given in ports.values() for port in given} == {"127.0.0.1"}


def test_images_are_pinned_and_what_serves_is_checked_and_restarts(services: dict[str, Any]) -> None:
    for name, service in services.items():
        digest = "" if service.get("build") else "@sha256:[0-9a-f]{64}"
        assert re.fullmatch(rf"[a-z-]+(/[a-z]+)?:v?\d+\.\d+[.\w-]*{digest}", service["image"]), name
        if service.get("restart"):
            assert service.get("healthcheck") or (name == "api" and HEALTH_OF_IMAGE.search(_dockerfile())), name
        for before, how in service.get("depends_on", {}).items():
            long_lived = services[before].get("restart") is not None
            assert how["condition"] == ("service_healthy" if long_lived else "service_completed_successfully")


def test_every_service_is_confined(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True and "/tmp" in service["tmpfs"], name
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] > 0 and int(service["mem_limit"]) > 0, name
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name
        as_root = not service.get("build") and "user" not in service
        assert bool(service.get("cap_add")) == as_root == (name in ("backup", "proxy", "restore", "settle")), name
        for volume in service.get("volumes", []):
            assert volume["target"] != "/var/run/docker.sock" and not service.get("privileged"), name


def test_a_service_shares_a_network_with_whom_it_asks_and_with_few_others(services: dict[str, Any]) -> None:
    networks = {name: set(service.get("networks") or {}) for name, service in services.items()}
    near: dict[str, set[str]] = {
        name: {other for other in services if other != name and networks[other] & networks[name]}
        for name in services
    }
    assert near["api"] == {"mlflow", "prometheus", "proxy"}
    assert near["proxy"] == {"mlflow", "prefect", "api"}
    assert near["grafana"] == {"prometheus"}
    assert not near["dask-certificate"]
    assert near["postgres"] == {
        "mlflow", "mlflow-migrate", "import", "prefect", "prefect-2", "prefect-migrate",
        "settle", "backup", "restore",
    }  # fmt: skip
    assert near["redis"] == {"prefect", "prefect-2"}
    assert near["dask-scheduler"] == {"dask-worker", "worker"}
    assert "prefect" not in near["mlflow"] and "redis" not in near["worker"]
    for name, service in services.items():
        hosts = set(filter(None, (service.get("environment") or {}).values()))  # None: not set here
        words = [*hosts, *(service.get("command") or [])]
        asked = {other for other in services if other in hosts or any(f"//{other}:" in word for word in words)}
        not_used = {"mlflow", "dask-scheduler"} if name == "deploy" else set()  # it has the worker's settings
        assert asked - not_used <= near[name] | {name}, name


def test_only_networks_that_need_it_lead_to_other_machines(passwords: Path) -> None:
    config = read_config(ROOT, [f"--env-file={passwords}", "--profile=*"])
    outward = {name for name, network in config["networks"].items() if not network.get("internal")}
    assert outward == {"serving", "orchestration", "dashboards"}


def test_no_password_stands_in_a_file_or_in_what_a_container_is_made_of(passwords: Path) -> None:
    secret = [file.read_text() for file in (passwords.parent / "secrets").iterdir()]
    secret += [value.removeprefix("admin:") for value in secret]
    made = json.dumps(read_config(ROOT, [f"--env-file={passwords}", "--profile=*"]))
    assert len(secret) == 18 and not [value for value in secret if value in made]
    for part in FILES:
        for file in (ROOT / part).rglob("*") if (ROOT / part).is_dir() else [ROOT / part]:
            if file.is_file():
                assert not re.search(
                    r"(PASSWORD|SECRET_KEY|AUTH_STRING)[\"']?[=:] ?[\w-]{8,}\s*$", file.read_text(), re.M
                )


def test_each_service_is_given_the_secrets_that_it_needs_and_no_others(services: dict[str, Any]) -> None:
    given = {
        name: {secret["source"] for secret in service.get("secrets", [])} for name, service in services.items()
    }
    administrators = {name for name, secrets in given.items() if "MLFLOW_ADMIN_PASSWORD" in secrets}
    assert administrators == {"mlflow", "mlflow-accounts"}
    assert {name for name, secrets in given.items() if "POSTGRES_PASSWORD" in secrets} == {
        "postgres", "settle", "restore",
    }  # fmt: skip
    assert given["api"] == {"MLFLOW_READER_PASSWORD"}
    assert given["worker"] == given["dask-worker"] == {"PREFECT_LOGIN", "MLFLOW_WORKER_PASSWORD"}
    assert given["deploy"] == {"PREFECT_LOGIN"}
    assert not given["dask-scheduler"] and not given["dask-certificate"]


def test_an_exchange_of_a_secret_makes_every_service_anew_that_keeps_reading_it(services: dict[str, Any]) -> None:
    text = (ROOT / "stack" / "rotate.sh").read_text()
    told = {
        name: set(words.strip('"').split())
        for name, words in re.findall(r"^    ([A-Z_]+)\) readers=(.+) ;;$", text, re.M)
    }
    lasting = {name: service for name, service in services.items() if service.get("restart")}
    wanted: dict[str, set[str]] = {}
    for name, service in lasting.items():
        for secret in service.get("secrets", []):
            wanted.setdefault(secret["source"], set()).add(name)
    assert told.pop("AWS_SECRET_ACCESS_KEY") == {"mlflow"}  # of stack/s3.yml
    # Of the roles' passwords the database needs only the first ones, on an empty volume.
    assert told == {
        name: readers - {"postgres"} if name.endswith("DB_PASSWORD") else readers
        for name, readers in wanted.items()
    }


def test_every_setting_of_a_flow_reaches_the_worker(services: dict[str, Any]) -> None:
    elsewhere = {"ui_url", "data_dir", "artifact_root", "prefect_port"}  # the image's, or of one person's machine
    wanted = {f"SENTIFLOW_{name.upper()}" for name in Settings.model_fields if name not in elsewhere}
    serving = {name for name in wanted if name.startswith("SENTIFLOW_SERVE_")}
    assert wanted - serving <= set(services["worker"]["environment"])
    own = {"SENTIFLOW_SERVE_HOST", "SENTIFLOW_SERVE_PORT"}
    assert serving - own <= set(services["api"]["environment"])


def test_the_version_is_the_same_wherever_it_stands(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values() if service.get("build")}
    assert images == {IMAGE, f"sentiflow-serve:{VERSION}"}


def test_a_version_that_is_named_is_started_from_its_images_and_not_built(passwords: Path, tmp_path: Path) -> None:
    for name in ("Makefile", "docker-compose.yml", "Dockerfile"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "stack").symlink_to(ROOT / "stack")
    (tmp_path / ".env").write_text(f"{passwords.read_text()}SENTIFLOW_VERSION=0.9.0\n")
    done = subprocess.run(["make", "--dry-run", "up"], cwd=tmp_path, check=True, capture_output=True, text=True)
    (command,) = (line for line in done.stdout.splitlines() if " up " in line)
    assert "--no-build --pull never" in command and " --build" not in command
    services = read_config(tmp_path, ["--env-file=.env"])["services"]
    images = {service["image"] for service in services.values() if service.get("build")}
    assert images == {"sentiflow-pipeline:0.9.0", "sentiflow-serve:0.9.0"}


def test_the_images_are_not_root_s_and_hold_what_the_locks_say() -> None:
    text = _dockerfile()
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    for name in ("serve", "pipeline"):
        (stage,) = (stage for stage in stages if stage.splitlines()[0].endswith(f" AS {name}"))
        assert "\nUSER sentiflow\n" in stage
    assert re.search(r"^FROM python:3\.11\.\d+-slim", text, re.M)
    assert "ARG " not in text, "what is built with stays in an image's history"
    pin = re.compile(r"^([\w.-]+)(?:\[.*\])?==([^ ]+)", re.M)
    pins = [set(pin.findall(_lock(name))) for name in ("", "-team", "-serve")]
    assert pins[0] <= pins[1]
    assert {name for name, _ in pins[2] - pins[0]} <= {"fastapi"}, "which Prefect bounds"
    assert not re.search(r"^(tensorflow|keras|prefect|numba)==", _lock("-serve"), re.M)


def test_a_run_in_a_container_or_a_pod_gets_image_memory_and_server_from_its_work_pool(
    prefect_server: None,
) -> None:
    docker, kubernetes = (
        asyncio.run(kind.from_template_and_values(json.loads(template), {}, client=get_client()))
        for kind, template in (
            (DockerWorkerJobConfiguration, DOCKER_POOL.read_text()),
            (KubernetesWorkerJobConfiguration, _printed_by(ROOT / "stack" / "kubernetes_pool.py")),
        )
    )
    assert kubernetes.env == {
        "SENTIFLOW_TRACKING_URI": "http://mlflow:5000",
        "SENTIFLOW_UI_URL": "http://127.0.0.1:5000",
        "PREFECT_UI_URL": "http://127.0.0.1:4200",
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    # The worker's own address, of this machine, leads nowhere in a container.
    assert docker.env == kubernetes.env | {"PREFECT_API_URL": "http://prefect:4200/api"}
    assert (docker.image, docker.mem_limit, docker.auto_remove) == (IMAGE, "3g", True)
    assert docker.networks == ["sentiflow_tracking", "sentiflow_orchestration"]
    (container,) = kubernetes.job_manifest["spec"]["template"]["spec"]["containers"]
    assert (kubernetes.namespace, container["image"]) == ("sentiflow", IMAGE)
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "3Gi"}
    assert container["envFrom"] == [{"secretRef": {"name": "sentiflow"}}]
    assert container["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert {each["mountPath"] for each in container["volumeMounts"]} == {"/tmp", "/data"}


def test_a_deployment_cannot_take_the_confinement_off_its_containers() -> None:
    template = json.loads(DOCKER_POOL.read_text())
    assert not {"privileged", "volumes", "container_create_kwargs", "network_mode"} & set(
        template["variables"]["properties"]
    )
    confined = template["job_configuration"]["container_create_kwargs"]
    assert confined["read_only"] and confined["cap_drop"] == ["ALL"] and confined["pids_limit"] > 0


def test_a_database_and_a_bucket_elsewhere_take_the_place_of_the_stack_s(passwords: Path) -> None:
    files = "docker-compose.yml:stack/postgres-elsewhere.yml:stack/s3.yml"
    place = {"POSTGRES_HOST": "db.example.com", "ARTIFACTS": "s3://b/p", "AWS_ACCESS_KEY_ID": "key"}
    services = _with(passwords, COMPOSE_FILE=files, **place)
    assert "postgres" not in services
    asking = {name: each["environment"] for name, each in services.items() if "database" in str(each["networks"])}
    assert len(asking) == 5
    for name, variables in asking.items():
        found = {variables.get("PGHOST"), variables.get("PREFECT_SERVER_DATABASE_HOST")} - {None}
        assert (found, variables["PGSSLMODE"]) == ({"db.example.com"}, "require"), name
    assert "s3://b/p" in services["mlflow"]["command"]
    keys = {name for name, each in services.items() if "AWS_" in str(each)}
    assert keys == {"mlflow"}, "others need none"


def test_links_hosts_and_addresses_follow_the_public_ones(passwords: Path) -> None:
    local = {"PREFECT_PORT": "4300", "MLFLOW_PORT": "5300"}
    public = {f"{name}_PUBLIC_URL": f"https://ml.example.com/{name.lower()}" for name in ("MLFLOW", "PREFECT")}
    for given, mlflow, prefect in (
        (local, "http://127.0.0.1:5300", "http://127.0.0.1:4300"),
        (local | public, public["MLFLOW_PUBLIC_URL"], public["PREFECT_PUBLIC_URL"]),
    ):
        services = _with(passwords, **given)
        for name in ("worker", "deploy"):
            environment = services[name]["environment"]
            assert (environment["SENTIFLOW_UI_URL"], environment["PREFECT_UI_URL"]) == (mlflow, prefect)
        assert services["prefect"]["environment"]["PREFECT_SERVER_UI_API_URL"] == f"{prefect}/api"


@pytest.mark.parametrize("address", ["http://ml.example.com", "https://ml.example.com/", "https://ML.example.com"])
def test_a_public_address_that_a_browser_would_write_otherwise_is_refused(tmp_path: Path, address: str) -> None:
    (tmp_path / ".env").write_text(f"MLFLOW_PUBLIC_URL={address}\n")
    command = ["sh", ROOT / "stack" / "env.sh", tmp_path / ".env", tmp_path / "secrets"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2 and "MLFLOW_PUBLIC_URL" in done.stderr and "https://HOST" in done.stderr
    assert not (tmp_path / "secrets").exists()


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


def _with(passwords: Path, **settings: str) -> dict[str, Any]:
    """The services, with these in .env, too."""
    file = passwords.with_name("other.env")
    file.write_text(passwords.read_text() + "".join(f"{name}={value}\n" for name, value in settings.items()))
    services: dict[str, Any] = read_config(ROOT, [f"--env-file={file}"])["services"]
    return services


def _printed_by(script: Path) -> str:
    return subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout


def _dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def _lock(name: str) -> str:
    return (ROOT / f"requirements{name}.lock").read_text()
