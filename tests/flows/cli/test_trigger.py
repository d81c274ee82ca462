"""What ``trigger`` makes of its options, and what it says without a server to ask."""

import asyncio
import re
import threading
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Scheduled

from flows.cli import schedule
from flows.cli.main import application
from flows.schedules import deployments
from sentiflow.errors import UsageError
from sentiflow.operations.deployments import Applied, apply
from sentiflow.operations.flow_runs import start
from sentiflow.settings import Settings
from tests.flows.cli.test_commands import run_telling_modules
from tests.servers import free_port
from tests.world import World, refusal


def deployed(client: SyncPrefectClient, flow: str) -> Applied:
    table = deployments(Settings(_env_file=None, schedule_dataset="sample"))
    return apply(client, next(each for each in table if each.flow == flow))


def test_parameters_are_read_as_json_and_what_is_none_as_text(
    client: SyncPrefectClient, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed(client, "train")
    config = '{"recipe": "tutorial", "epochs": 2}'
    application()(
        ["trigger", "train", "--no-wait", "-p", "seed=7", "-p", f"config={config}", "-p", "dataset=/a.csv"],
        standalone_mode=False,
    )
    address = re.search(r"flow-run/([0-9a-f-]{36})", "".join(capsys.readouterr()))
    assert address
    made = client.read_flow_run(UUID(address[1])).parameters
    assert (made["seed"], made["dataset"], made["promote"]) == (7, "/a.csv", False)
    assert made["config"] == {"recipe": "tutorial", "epochs": 2}


def test_without_options_everything_is_the_deployments(client: SyncPrefectClient) -> None:
    made = start(client, deployed(client, "train").on_server, {})
    assert (made.parameters["dataset"], made.parameters["config"]["recipe"]) == ("sample", "ngrams")


@pytest.mark.parametrize(
    ("flow", "parameters", "told"),
    [
        ("promote", {"versoin": 1}, "It has: dataset, version, decision"),
        ("promote", {"version": "x"}, "parameters are refused"),
        ("score", {"source": "in.csv"}, "output"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    client: SyncPrefectClient, flow: str, parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        start(client, deployed(client, flow).on_server, parameters)


@pytest.mark.parametrize("name", ["nightly", "train/nightly", "a/b/c"])
def test_a_deployment_that_is_not_there_is_told(client: SyncPrefectClient, world: World, name: str) -> None:
    for flow in ("train", "score"):
        deployed(client, flow)
    told = refusal("trigger", name)
    assert (told.exit_code, told.hint) == (2, "There are: score, train.")


def test_a_deployment_may_be_named_in_full(client: SyncPrefectClient, world: World) -> None:
    deployed(client, "train")
    assert "epoch" in str(refusal("trigger", "train/train", "--param", "epoch=1"))


def test_without_a_server_it_says_how_to_start_one_and_loads_nothing_of_a_training(world: World) -> None:
    nowhere = {"PREFECT_API_URL": "", "SENTIFLOW_PREFECT_PORT": str(free_port())}
    done, loaded = run_telling_modules("trigger", "train", world=world, **nowhere)
    assert (done.returncode, "Start `sentiflow schedule`" in done.stderr) == (3, True)
    assert not loaded & {"mlflow", "tensorflow", "keras"}


def test_a_run_that_no_worker_takes_is_said_to_be_queued(
    client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(client, deployed(client, "train").on_server, {})
    late = Scheduled(name="Late")  # as the server says after a while
    threading.Timer(1, client.set_flow_run_state, (run.id, late, True)).start()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(schedule._follow(run.id), 5))
    told = capsys.readouterr()
    assert (told.out + told.err).count("Still queued: no worker has picked it up") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--train", "61 * * * *"), "expected a cron line"),
        (
            ("--train", "every day"),
            "The schedule of train (SENTIFLOW_SCHEDULE_TRAIN): expected a cron line",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_told_before_a_server_is_started(
    world: World, arguments: tuple[str, ...], told: str
) -> None:
    error = refusal("schedule", *arguments)
    assert (error.exit_code, told in str(error)) == (2, True), error
    assert not (world.root / "data").exists()
