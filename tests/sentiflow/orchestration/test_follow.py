"""Flow runs: called, and followed by one who waits."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import LogCreate
from prefect.settings import get_current_settings
from prefect.states import Completed, Running

from sentiflow.errors import ExternalError
from sentiflow.orchestration import flow_runs
from sentiflow.orchestration.deployments import Deployment, apply


def test_a_run_that_is_deleted_meanwhile_is_told(client: SyncPrefectClient) -> None:
    applied = apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": "sample"}))
    run = flow_runs.start(client, applied.on_server, {})
    client.delete_flow_run(run.id)
    with pytest.raises(ExternalError, match=f"The run {run.name} was deleted in Prefect"):
        list(flow_runs.follow(client, run, lambda _: None))


@pytest.mark.usefixtures("three_at_a_time")
def test_many_lines_are_all_given_in_their_order(client: SyncPrefectClient) -> None:
    applied = apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": "sample"}))
    run = flow_runs.start(client, applied.on_server, {})
    at = datetime(2026, 1, 2, tzinfo=UTC)
    client.create_logs(
        LogCreate(
            name="n", level=20, message=str(second), timestamp=at + timedelta(seconds=second), flow_run_id=run.id
        )
        for second in range(7)
    )
    client.set_flow_run_state(run.id, Completed(), force=True)
    *lines, _ = flow_runs.follow(client, run, lambda _: None)
    assert [line.message for line in lines if isinstance(line, flow_runs.Line)] == list("0123456")


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.story
def test_it_is_told_whether_another_run_of_the_deployment_goes_on(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    monkeypatch.setattr(flow_runs, "_LONG_SECONDS", 0.0)
    applied = apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": "sample"}))
    other, waiting = (flow_runs.start(client, applied.on_server, {}) for _ in range(2))
    client.set_flow_run_state(other.id, Running() if goes_on else Completed(), force=True)
    told: list[bool] = []

    def waits(behind_another: bool) -> None:
        told.append(behind_another)
        client.set_flow_run_state(waiting.id, Completed(), force=True)

    *_, last = flow_runs.follow(client, waiting, waits)
    assert told == [goes_on]
    assert not isinstance(last, flow_runs.Line) and last.is_completed()


@flow_runs.job()
def heartbeat() -> int | None:
    return get_current_settings().flows.heartbeat_frequency


def test_a_flow_that_is_called_sends_no_heartbeats(prefect_server: None) -> None:
    """Prefect would wait a second at its end, for the thread that sends them."""
    assert heartbeat() is None
    assert get_current_settings().flows.heartbeat_frequency is not None
