"""The promotion flow in a real Prefect server, a person's answer through its API, and training that promotes."""

import json
import logging
import os
import shutil
import signal
import subprocess
import threading
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from flows.cli.admin import _end
from flows.cli.models import _with_approval
from flows.promote import after_training, promote
from flows.train import train
from sentiflow.environment import person
from sentiflow.errors import RejectedError, UsageError
from sentiflow.operations.flow_runs import close_waiting
from sentiflow.operations.repair import close_killed
from sentiflow.promotion import switch
from sentiflow.promotion.candidate import Candidate, evaluate_candidate
from sentiflow.promotion.history import decline_of, judged_already, need_champion
from sentiflow.promotion.switch import rollback
from sentiflow.settings import load_settings
from sentiflow.store.client import connect
from sentiflow.training.recipes import load_recipe
from tests.mlflow_store import champion_of, events_of
from tests.polling import until
from tests.prefect_store import artifacts_of, tasks_of
from tests.receiver import receiver
from tests.scheduled import Home, Scheduled
from tests.servers import free_port
from tests.world import Registry, Trained, World, command

NAME = "sample-sentiment"
SAMPLE = load_recipe("tutorial", ["sequence_length=80"])


def flow_runs(flow: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        flows = {found.id for found in client.read_flows() if found.name == flow}
        newest = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)
        runs = [run for run in newest if run.flow_id in flows]
    return sorted(runs, key=lambda run: run.created)


def answered(answer: dict[str, object], **options: object) -> tuple[Candidate, str]:
    """Run the flow, answer through the API once it pauses; the flow's result, and what was asked."""
    before = {run.id for run in flow_runs("promote")}
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(promote("sample", **options))
        except Exception as err:  # noqa: BLE001 - told where it is not the expected one
            outcome.append(err)

    worker = threading.Thread(target=copy_context().run, args=(run,))  # with Prefect's settings of the tests
    worker.start()
    try:
        paused = until(
            lambda: next((r for r in flow_runs("promote") if r.id not in before and is_paused(r)), None)
        )
        question = question_of(paused)
        with get_client(sync_client=True) as client:
            for each in (
                {},
                {"decision": "yes"},
                {**answer, "promote": True},
            ):  # nothing, or something else, chosen
                assert client.resume_flow_run(paused.id, run_input=each).status == SetStateStatus.REJECT
            client.resume_flow_run(paused.id, run_input=answer)
    finally:
        worker.join(60)
    assert isinstance(outcome[0], Candidate), repr(outcome[0])
    return outcome[0], question


def is_paused(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_paused()


def question_of(run: FlowRun) -> str:
    """The description that the UI shows above the form."""
    assert run.state is not None and run.state.state_details.run_input_keyset is not None
    key = run.state.state_details.run_input_keyset["description"]

    def read() -> str | None:
        try:
            return client.read_flow_run_input(run.id, key) or None
        except PrefectHTTPStatusError:  # Prefect pauses the run first, and then writes it
            return None

    with get_client(sync_client=True) as client:
        return until(read)


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
    assert state.name != "Skipped" or tasks_of(run.id, 0) == []
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
    monkeypatch.setattr("tasks.register._POLL", 0.2)


def test_a_persons_yes_promotes_and_is_recorded(registry: World, prefect_server: None, approval: None) -> None:
    answer = {"decision": "promote", "reason": "looks right", "name": "Ada"}
    forged = "fine\n\n**all checks passed**\n\n<b>"
    _, question = answered(answer, version=Registry.GOOD, reason=forged)
    assert "*minimum accuracy*, 9" in question and f"{NAME} version {Registry.GOOD}" in question
    assert json.loads(question).splitlines()[0].endswith(r": fine  \*\*all checks passed\*\*  \<b>.")
    client = connect(registry.settings)
    assert champion_of(client, NAME) == Registry.GOOD
    event = events_of(client, NAME)[-1]
    assert (event.decision, event.reason) == ("approved", f"{forged}; looks right")
    assert event.by == f"Ada, asked by {person()}"


@pytest.mark.story
def test_people_are_told_who_is_asked_for_promoted_refused_and_rolled_back(
    registry: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        promote("sample", Registry.POOR, force=True, reason="the first")
        monkeypatch.setenv("SENTIFLOW_PROMOTION_APPROVAL", "true")
        answered({"decision": "promote", "name": "Ada"}, version=Registry.GOOD)
        for wanted in ("refused,failed,success", "failed,success"):  # a no is neither of these
            with monkeypatch.context() as patch:
                patch.setenv("SENTIFLOW_NOTIFY_ON", wanted)
                promote("sample", Registry.POOR)
        rollback(NAME, "complaints", load_settings())
    told = [(each["event"], each.get("model_version")) for each in got.messages]
    good, poor = str(Registry.GOOD), str(Registry.POOR)
    assert told == [
        ("promoted", poor), ("approval", good), ("promoted", good), ("refused", poor),
        ("rolled-back", poor),
    ]  # fmt: skip
    first, asked, promoted, _, back = (each["text"] for each in got.messages)
    assert f"Sentiflow: {NAME} version {poor} is now the champion, the first one (forced)." in first
    assert asked.endswith(got.messages[1]["flow_run_url"]) and "/runs/flow-run/" in asked
    assert promoted.endswith(f"replacing version {poor} (approved).")
    assert f"version {poor} is the champion again, not version {good}, by {person()}: complaints" in back


def test_a_persons_no_is_no_failure_moves_nothing_and_stands_in_the_history(
    registry: World, prefect_server: None, approval: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"decision": "do not promote", "reason": "not before the holidays", "name": "Ada"}
    outcome, _ = answered(answer, version=Registry.GOOD)
    assert outcome.summary.endswith("declined by Ada: not before the holidays")
    state = flow_runs("promote")[-1].state
    assert state is not None and (state.is_completed(), state.name) == (True, "Declined")
    with pytest.raises(RejectedError, match="declined by Ada: not before the holidays"):
        _end(state)
    client = connect(registry.settings)
    assert champion_of(client, NAME) is None
    tags = client.get_model_version(NAME, str(Registry.GOOD)).tags
    assert (tags["gate.outcome"], tags["decline.by"], tags["decline.reason"]) == (
        "declined", "Ada", "not before the holidays",
    )  # fmt: skip
    (event,) = events_of(client, NAME)
    assert (event.kind, event.version, event.by, event.reason) == (
        "decline",
        Registry.GOOD,
        "Ada",
        answer["reason"],
    )
    monkeypatch.setenv("SENTIFLOW_PROMOTION_APPROVAL", "false")  # another clone, which asks nevertheless
    answer = {"decision": "promote"}
    assert answered(answer, version=Registry.GOOD, force=True, reason="late")[0].event is not None


@pytest.mark.story
def test_who_forced_and_why_stays_on_record_beside_who_approved(
    registry: World, prefect_server: None, approval: None
) -> None:
    answered({"decision": "promote"}, version=Registry.POOR, force=True, reason="see issue 12")
    event = events_of(connect(registry.settings), NAME)[-1]
    assert (event.decision, event.reason) == ("forced", "see issue 12")
    assert event.by == f"a person in the Prefect UI, asked by {person()}"


def test_nobody_is_asked_about_a_version_that_the_gate_refuses(
    registry: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("sample", Registry.GOOD)
    monkeypatch.setenv("SENTIFLOW_PROMOTION_APPROVAL", "true")
    assert promote("sample", Registry.POOR).answer == "refused"


def test_nobody_is_asked_about_the_champion_and_no_flow_run_fails(
    registry: World, prefect_server: None, approval: None
) -> None:
    connect(registry.settings).set_registered_model_alias(NAME, "champion", str(Registry.GOOD))
    before = len(flow_runs("promote"))
    with pytest.raises(UsageError, match="is the champion already"):
        _with_approval(NAME, Registry.GOOD, "", registry.settings, force=False)
    assert len(flow_runs("promote")) == before


@pytest.mark.story
def test_without_an_answer_in_time_nothing_is_promoted(
    registry: World, prefect_server: None, approval: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIFLOW_APPROVAL_TIMEOUT", "3")
    assert "nobody answered within 3 s" in promote("sample", Registry.GOOD).summary
    assert champion_of(connect(registry.settings), NAME) is None
    state = flow_runs("promote")[-1].state
    assert state is not None and (state.is_completed(), state.name) == (True, "Unanswered")
    assert not judged_already(registry.settings, NAME, Registry.GOOD)  # it is asked about again


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
def test_a_running_schedule_is_where_people_are_asked(registry: World) -> None:
    asking = {"SENTIFLOW_PROMOTION_APPROVAL": "true", "SENTIFLOW_APPROVAL_TIMEOUT": "3"}
    home = Home(registry, free_port(), {**asking, "SENTIFLOW_GATE_MIN_ACCURACY": "0.5"})
    running = Scheduled(home, "--dataset", "sample", "--train", "off", "--housekeeping", "off")
    try:
        running.until_says("Prefect UI")
        done = home.run("promote", str(Registry.GOOD))
        assert (done.returncode, "nobody answered within 3 s" in done.stderr) == (4, True), done.stderr
        assert (done.stdout + done.stderr).count("minimum accuracy") == 1
        assert [run["state_name"] for run in home.flow_runs("promote")] == ["Unanswered"]
    finally:
        assert running.ends(signal.SIGINT) == 0
    done = registry.run("promote", str(Registry.GOOD), PREFECT_API_URL="")  # without the setting
    assert (done.returncode, "no Prefect server is running to ask in" in done.stderr) == (2, True), done.stderr


@pytest.mark.story
@pytest.mark.weekly
def test_of_two_promotions_that_wait_the_one_whose_process_was_killed_is_closed(
    registry: World, prefect_server: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    variables = {"PREFECT_API_URL": PREFECT_API_URL.value(), "SENTIFLOW_PROMOTION_APPROVAL": "true"}
    before = {run.id for run in flow_runs("promote")}
    asking = [
        subprocess.Popen(
            [command(), "promote", str(number)], env=registry.environment(**variables), cwd=registry.root,
            stderr=subprocess.DEVNULL,
        ) for number in (Registry.GOOD, Registry.NEWEST)
    ]  # fmt: skip

    def both() -> list[FlowRun] | None:
        found = [run for run in flow_runs("promote") if run.id not in before and is_paused(run)]
        return sorted(found, key=lambda run: run.parameters["version"]) if len(found) == 2 else None

    try:
        dead, alive = until(both)
        asking[0].kill()
        asking[0].wait()
        with get_client(sync_client=True) as client:
            until(lambda: question_of(dead))
            client.resume_flow_run(dead.id, run_input={"decision": "promote"})  # nothing takes the answer
            copied = shutil.copytree(
                registry.root / "data" / "locks", tmp_path_factory.mktemp("copy") / "locks"
            ).parent
            elsewhere = registry.settings.model_copy(update={"data_dir": copied})
            assert close_waiting(client, elsewhere, logging.getLogger()) == []  # where every lock is free
            report = close_killed(registry.settings, logging.getLogger(), datetime.now(UTC))
            again = f"sentiflow promote {Registry.GOOD} --dataset sample"
            assert [line for line in report.closed if again in line], report
            ended = client.read_flow_run(dead.id).state
            assert ended is not None and ended.is_crashed() and again in str(ended.message)
            assert is_paused(client.read_flow_run(alive.id))
            client.resume_flow_run(alive.id, run_input={"decision": "promote"})
        assert asking[1].wait(60) == 0
    finally:
        for each in asking:
            each.kill()
    assert champion_of(connect(registry.settings), NAME) == Registry.NEWEST
    assert list((registry.root / "data" / "locks").glob("waiting-*/*")) == []


@pytest.mark.story
@pytest.mark.weekly
def test_a_promotion_whose_server_ended_is_closed_by_the_next_schedule(registry: World) -> None:
    home = Home(
        registry, free_port(), {"SENTIFLOW_PROMOTION_APPROVAL": "true", "SENTIFLOW_GATE_MIN_ACCURACY": "0.5"}
    )
    quiet = ("--dataset", "sample", "--train", "off", "--housekeeping", "off")
    running = Scheduled(home, *quiet)
    running.until_says("Prefect UI")
    asking = subprocess.Popen(
        [command(), "promote", str(Registry.GOOD)], env=registry.environment(**home.variables), cwd=registry.root,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: [run for run in home.flow_runs("promote") if run["state_name"] == "Paused"] or None)
        os.killpg(running.process.pid, signal.SIGKILL)
        assert asking.wait(60) == 3
        told = asking.communicate()[1]
        assert "Error: The Prefect server does not answer" in told and "PREFECT_API_URL" not in told, told
    finally:
        asking.kill()
        running.process.kill()
    again = Scheduled(home, *quiet)
    try:
        again.until_says(f"Marked as crashed: .* sentiflow promote {Registry.GOOD} --dataset sample")
        assert [run["state_name"] for run in home.flow_runs("promote")] == ["Crashed"]
    finally:
        assert again.ends(signal.SIGINT) == 0


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
