"""The alarm of runs that no worker takes, by a real Prefect server."""

import time
from datetime import timedelta

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Pending, Scheduled
from pydantic import SecretStr

from sentiflow.operations.deployments import Deployment, apply
from sentiflow.operations.flow_runs import ALARM, write_alarm
from sentiflow.settings import Settings
from tests.polling import until
from tests.receiver import receiver


def settings(url: str | None, **more: object) -> Settings:
    return Settings(_env_file=None, notify_url=url and SecretStr(url), **more)


@pytest.mark.story
def test_a_run_that_no_worker_takes_is_told_and_one_that_was_taken_is_not(client: SyncPrefectClient) -> None:
    client.create_work_pool(WorkPoolCreate(name="dead", type="process"))
    made = apply(client, Deployment("flows.promote.promote", "Promotes."), "dead")
    with receiver() as got:
        try:
            assert write_alarm(client, settings(got.address), timedelta(seconds=10))
            taken, left = (
                client.create_flow_run_from_deployment(made.id, name=name) for name in ("taken", "left")
            )
            for run in (taken, left):
                client.set_flow_run_state(run.id, Scheduled(name="Late"), force=True)
            client.set_flow_run_state(taken.id, Pending(), force=True)
            until(lambda: got.messages, "a message", 60)
            time.sleep(6)  # the server looks every 5 s
        finally:
            write_alarm(client, settings(None))
    (message,) = got.messages
    assert (message["event"], message["title"]) == ("late", "Sentiflow")
    assert "promote left is late" in message["text"]


def test_the_alarm_follows_the_settings_and_a_person_who_paused_it(client: SyncPrefectClient) -> None:
    two = settings("https://user:secret@hooks.example/a slack://tokenA/tokenB/tokenC")
    try:
        for _ in range(2):
            assert write_alarm(client, two)
        (made,) = client.read_automations_by_name(ALARM)
        assert made.enabled and len(made.actions) == 2 and "secret" not in made.model_dump_json()
        client.request("PATCH", f"/automations/{made.id}", json={"enabled": False})
        write_alarm(client, two)
        (made,) = client.read_automations_by_name(ALARM)
        assert not made.enabled
        assert not write_alarm(client, settings("https://hooks.example/a", notify_on=("failed",)))
        assert not client.read_automations_by_name(ALARM)
    finally:
        write_alarm(client, settings(None))
