"""The promotion flow in a real Prefect server, a person's answer through its API, and training that promotes."""

import json
import signal
from dataclasses import replace
from urllib.parse import unquote_plus

import pytest
from mlflow.tracking import MlflowClient
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from flows.cli.schedule import _end
from flows.promote import after_training, promote
from flows.train import train
from sentiflow.environment import person
from sentiflow.errors import RejectedError, UsageError
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import Candidate, evaluate_candidate
from sentiflow.promotion.history import decline_of, need_champion
from sentiflow.promotion.switch import rollback
from sentiflow.store.client import connect
from sentiflow.training.recipes import load_recipe
from tests.mlflow_store import champion_of, events_of
from tests.prefect_store import artifacts_of, tasks_of
from tests.receiver import receiver
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import Registry, Trained, World

NAME = "sample-sentiment"
SAMPLE = load_recipe("tutorial", ["sequence_length=80"])


def flow_runs(flow: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        flows = {found.id for found in client.read_flows() if found.name == flow}
        newest = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)
        runs = [run for run in newest if run.flow_id in flows]
    return sorted(runs, key=lambda run: run.created)


def test_the_flow_promotes_and_shows_the_comparison(registry: World, prefect_server: None) -> None:
    outcome = promote("sample", Registry.GOOD, reason="the first")
    client = connect(registry.settings)
    assert champion_of(client, NAME) == Registry.GOOD == outcome.need_promotion().version
    run = flow_runs("promote")[-1]
    shown = [artifact.data for artifact in artifacts_of(run.id)]
    assert [task.name for task in tasks_of(run.id, 1)] == ["promote"]
    assert run.name == f"promote-{Registry.GOOD}-of-{NAME}"
    assert run.state is not None
    assert run.state.message == f"{NAME} version {Registry.GOOD} is now the champion, the first one (passed)."
    assert any("*minimum accuracy*, 9" in str(data) for data in shown)


def test_a_no_of_the_gate_is_no_failure_and_says_why(registry: World, prefect_server: None) -> None:
    promote("sample", Registry.GOOD)
    assert promote("sample", Registry.POOR).event is None
    state = flow_runs("promote")[-1].state
    assert state is not None and (state.is_completed(), state.name) == (True, "Refused")
    with pytest.raises(RejectedError, match="checks failed"):  # as `sentiflow trigger promote` ends
        _end(state)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow runs are those of a deployment, as a schedule starts them."""
    monkeypatch.setattr("flows.promote.by_deployment", lambda: True)


def ended(**options: object) -> tuple[str | None, str, list[str]]:
    """Run the flow; gives its last state's name and message, and the steps that it took."""
    state = promote("sample", return_state=True, **options)
    run = flow_runs("promote")[-1]
    steps = [] if state.name == "Skipped" else [task.name for task in tasks_of(run.id, 1)]
    return state.name, state.message or "", steps


def test_a_scheduled_promotion_judges_each_version_once_and_is_skipped_then(
    registry: World, prefect_server: None, deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(registry.settings)
    client.set_registered_model_alias(NAME, "champion", str(Registry.GOOD))
    monkeypatch.setenv("SENTIFLOW_GATE_MIN_ACCURACY", "0.999")  # neither has it
    assert [ended()[0] for _ in range(2)] == ["Refused"] * 2
    times = [
        client.get_model_version(NAME, str(number)).tags["gate.at"] for number in (Registry.POOR, Registry.NEWEST)
    ]
    name, message, _ = ended()
    assert name == "Skipped"
    assert message.startswith(
        f"Nothing new to promote: {NAME} version {Registry.NEWEST} was refused before: minimum accuracy:"
    )
    assert message.endswith(f" To judge it again: sentiflow promote {Registry.NEWEST} --dataset sample")
    after = [
        client.get_model_version(NAME, str(number)).tags["gate.at"] for number in (Registry.POOR, Registry.NEWEST)
    ]
    assert (after, champion_of(client, NAME)) == (times, Registry.GOOD)
    assert ended(version=Registry.NEWEST)[0] == "Refused"  # asked for by its number
    name, message, _ = ended(version=Registry.GOOD)
    assert (name, message) == ("Skipped", f"Nothing new to promote: {NAME} version 1 is the champion already.")
    for limit, value in {"MIN_ACCURACY": "0", "MARGIN": "1", "SLICE_MARGIN": "1"}.items():
        monkeypatch.setenv(f"SENTIFLOW_GATE_{limit}", value)
    assert ended()[0] == "Completed"  # judged again, by other limits
    assert champion_of(client, NAME) == Registry.NEWEST


def test_a_version_that_a_person_declined_is_promoted_by_nobody_but_by_force(
    registry: World, prefect_server: None, deployed: None
) -> None:
    """Whatever the champion is meanwhile, and whoever asks."""
    no = {"answer": "declined", "by": "Ada", "reason": "too early"}
    for number in (Registry.POOR, Registry.NEWEST, Registry.GOOD):
        candidate = evaluate_candidate(NAME, number, registry.settings)
        switch.carry_out(replace(candidate, **no), registry.settings)
    name, message, _ = ended()
    assert (name, "was declined by Ada on 20" in message) == ("Skipped", True)
    client = connect(registry.settings)
    for champion in (None, Registry.POOR):
        if champion:
            client.set_registered_model_alias(NAME, "champion", str(champion))
        name, message, _ = ended(version=Registry.GOOD)
        assert (name, message.endswith(" UTC: too early")) == ("Refused", True), message
        assert after(Registry.NEWEST) is None
    assert ended(version=Registry.GOOD, force=True, reason="Ada agrees now")[0] == "Completed"
    assert champion_of(client, NAME) == Registry.GOOD
    assert [event.kind for event in events_of(client, NAME)] == ["decline"] * 3 + ["promotion"]
    assert decline_of(events_of(client, NAME), Registry.GOOD) is None
    assert rollback(NAME, "complaints", registry.settings).version == Registry.POOR


@pytest.fixture
def approval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIFLOW_PROMOTION_APPROVAL", "true")


def last_state() -> tuple[str | None, bool]:
    state = flow_runs("promote")[-1].state
    assert state is not None
    return state.name, state.is_completed()


def waits_for(client: MlflowClient, number: int = Registry.GOOD) -> str | None:
    """What a version waits for a person to say yes to."""
    found: str | None = client.get_model_version(NAME, str(number)).tags.get("promotion.waits")
    return found


def test_a_version_waits_for_a_person_whose_yes_is_given_by_the_deployments_form(
    registry: World, prefect_server: None, approval: None, deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(registry.settings)
    with receiver() as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        assert after(Registry.GOOD) is not None  # a training that promotes, on one day
        assert (champion_of(client, NAME), waits_for(client)) == (None, "passed")
        assert ended(version=Registry.NEWEST)[0] == "Waits"
        assert ended(version=None)[0] == "Skipped" and after(Registry.GOOD) is None  # nobody is asked twice
        monkeypatch.setenv("SENTIFLOW_PROMOTION_APPROVAL", "false")  # the model's tag asks from now on
        promote("sample", Registry.GOOD, "approve", reason="looks right", name="Ada")
    assert (champion_of(client, NAME), waits_for(client)) == (Registry.GOOD, None)
    (event,) = events_of(client, NAME)
    assert (event.decision, event.reason, event.by) == ("approved", "looks right", f"Ada, asked by {person()}")
    assert [each["event"] for each in got.messages] == ["approval", "approval", "promoted"]
    assert f"sentiflow promote {Registry.GOOD} --dataset sample --approve" in got.messages[0]["text"]
    for number in (Registry.POOR, Registry.GOOD):  # nobody was asked; a second answer
        with pytest.raises(UsageError, match="does not wait"):
            promote("sample", number, "decline")


def test_a_persons_no_moves_nothing_stands_in_the_history_and_is_no_failure(
    registry: World, prefect_server: None, approval: None
) -> None:
    promote("sample", Registry.GOOD)
    assert last_state() == ("Waits", True)
    answer = promote("sample", Registry.GOOD, "decline", reason="not before the holidays", name="Ada")
    assert answer.summary.endswith("declined by Ada: not before the holidays")
    assert last_state() == ("Declined", True)
    client = connect(registry.settings)
    assert (champion_of(client, NAME), waits_for(client)) == (None, None)
    tags = client.get_model_version(NAME, str(Registry.GOOD)).tags
    assert (tags["gate.outcome"], tags["decline.by"]) == ("declined", "Ada")
    (event,) = events_of(client, NAME)
    assert (event.kind, event.by, event.reason) == ("decline", "Ada", "not before the holidays")
    assert promote("sample", Registry.GOOD).answer == "refused"
    assert promote("sample", Registry.GOOD, force=True, reason="Ada agrees").answer == "waits"
    promote("sample", Registry.GOOD, "approve", name="Bob")
    event = events_of(client, NAME)[-1]
    assert (event.decision, event.reason) == ("forced", "Ada agrees")  # who forced it stays on record
    assert event.by == f"Bob, asked by {person()}"


def test_nobody_is_asked_about_a_version_that_the_gate_refuses(
    registry: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("sample", Registry.GOOD)
    monkeypatch.setenv("SENTIFLOW_PROMOTION_APPROVAL", "true")
    assert promote("sample", Registry.POOR).answer == "refused"


@flow(name="training")
def after(version: int) -> Candidate | None:
    """As the end of a training: Prefect counts tasks outside of a flow among those of the last one."""
    return after_training(NAME, version)


def test_an_equal_version_that_was_judged_is_not_judged_again(registry: World, prefect_server: None) -> None:
    """As of repeats that are run again: nothing new was registered."""
    connect(registry.settings).set_registered_model_alias(NAME, "champion", str(Registry.GOOD))
    assert after(Registry.GOOD) is None
    need_champion(registry.settings, NAME, Registry.GOOD)
    assert (refused := after(Registry.POOR)) is not None and refused.event is None
    assert after(Registry.POOR) is None
    with pytest.raises(
        RejectedError,
        match=f"version {Registry.POOR}, an equal one, is not in use; it was refused before: minimum accuracy",
    ):
        need_champion(registry.settings, NAME, Registry.POOR)


@pytest.mark.story
def test_a_promotion_that_was_killed_before_the_switch_is_made_by_the_next_training(
    registry: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(switch, "move", die)
        after(Registry.GOOD)
    outcome = after(Registry.GOOD)
    assert outcome is not None and outcome.event is not None


@pytest.mark.story
def test_a_version_that_was_rolled_back_is_not_promoted_again_by_itself(
    registry: World, prefect_server: None
) -> None:
    promote("sample", Registry.POOR, force=True, reason="the first")
    after(Registry.GOOD)
    rollback(NAME, "complaints", registry.settings)
    assert after(Registry.GOOD) is None
    assert champion_of(connect(registry.settings), NAME) == Registry.POOR
    with pytest.raises(RejectedError, match="an equal one, is not in use"):
        need_champion(registry.settings, NAME, Registry.GOOD)


@pytest.mark.story
def test_a_message_of_a_deployment_has_the_address_of_its_form_where_a_person_answers(registry: World) -> None:
    with receiver() as got:
        asking = {"SENTIFLOW_PROMOTION_APPROVAL": "true", "SENTIFLOW_NOTIFY_URL": got.address}
        home = Home(registry, free_port(), {**asking, "SENTIFLOW_GATE_MIN_ACCURACY": "0.5"})
        running = Scheduled(home, "--dataset", "sample", "--train", "off", housekeeping="off")
        try:
            running.until_says("Prefect UI")
            version = ("--param", f"version={Registry.GOOD}")
            asked = home.run("trigger", "promote", *version)
            assert (asked.returncode, "Waits" in asked.stdout + asked.stderr) == (0, True), asked.stderr
            deployment = home.deployment("promote")["id"]
            form, _, filled_in = got.messages[0]["form_url"].partition("?parameters=")
            assert form.endswith(f"/v2/deployments/deployment/{deployment}/run")
            assert json.loads(unquote_plus(filled_in)) == {"dataset": "sample", "version": Registry.GOOD}
            answer = ("--param", "decision=approve", "--param", "name=Ada")
            yes = home.run("trigger", "promote", *version, *answer)
            assert yes.returncode == 0, yes.stderr
        finally:
            assert running.ends(signal.SIGINT) == 0
    (event,) = events_of(connect(registry.settings), NAME)
    assert (event.version, event.by.partition(",")[0]) == (Registry.GOOD, "Ada")


def test_training_promotes_in_the_same_flow_run_when_asked_to(registry: World, prefect_server: None) -> None:
    promote("sample", Registry.POOR, force=True, reason="the first")
    result = train(SAMPLE, "sample", 6, promote=True)
    client = connect(registry.settings)
    assert result.promotion is not None and result.promotion.event is not None
    assert champion_of(client, NAME) == result.model.version
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    names = [task.name for task in tasks_of(run.data.tags["prefect.flow_run_id"], 8)]
    assert {"register", "promote"} <= set(names)


def test_training_promotes_nothing_by_default(trained: Trained) -> None:
    assert trained.result.promotion is None
    assert champion_of(connect(trained.world.settings), NAME) is None
