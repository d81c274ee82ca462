"""Promotion and rollback against a real store with real models of the sample."""

import errno
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow.artifacts
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sentiflow.environment import person
from sentiflow.errors import ExternalError, RejectedError, UsageError
from sentiflow.promotion import gate, switch
from sentiflow.promotion.candidate import Answer, Candidate, evaluate_candidate
from sentiflow.promotion.history import asks, history_of
from sentiflow.store.client import connect
from tests.mlflow_store import champion_of, events_of
from tests.receiver import receiver
from tests.world import Registry, Trained, World, refusal, with_own_files

NAME = "sample-sentiment"


@pytest.fixture(scope="module")
def three_versions(three_versions: World, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> World:
    """With files of their own: tests here take some away for a while, which other processes read."""
    return with_own_files(tmp_path_factory.mktemp("own"), three_versions, trained.world)


@pytest.fixture
def client(registry: World) -> MlflowClient:
    return connect(registry.settings)


def promote(world: World, version: int | None, **options: Any) -> Candidate:
    return switch.promote(NAME, version, world.settings, **options)


def answered(candidate: Candidate, answer: Answer, reason: str, by: str) -> Candidate:
    return replace(candidate, answer=answer, reason=reason, by=by)


def test_the_first_version_needs_no_more_than_the_minimum_accuracy_and_the_limits(
    registry: World, client: MlflowClient
) -> None:
    outcome = promote(registry, Registry.GOOD)
    assert [rule.name for rule in outcome.decision.rules] == ["minimum accuracy", "latency", "size"]
    assert champion_of(client, NAME) == Registry.GOOD
    assert replace(outcome.need_promotion(), done=True) == events_of(client, NAME)[-1]
    assert outcome.need_promotion().run_id == client.get_model_version(NAME, str(Registry.GOOD)).run_id


def test_a_promotion_tells_who_when_why_and_what_it_replaced(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    began = datetime.now(UTC).replace(microsecond=0)
    promote(registry, Registry.GOOD, reason="better")
    tags = client.get_model_version(NAME, str(Registry.GOOD)).tags
    assert began <= datetime.fromisoformat(tags["gate.at"]) <= datetime.fromisoformat(tags["promotion.at"])
    assert datetime.fromisoformat(tags["promotion.at"]) <= datetime.now(UTC)
    assert tags["previous_version"] == str(Registry.POOR)
    assert tags["promotion.reason"] == "better"
    assert tags["promotion.decision"] == tags["gate.outcome"] == "passed"
    assert tags["gate.against"] == f"version {Registry.POOR}"
    record = json.loads(tags["gate.record"])
    assert record["passed"] and record["comparison"]["p_value"] < 0.05
    event = events_of(client, NAME)[-1]
    assert (event.kind, event.version, event.replaced) == ("promotion", Registry.GOOD, Registry.POOR)
    assert event.accuracy == pytest.approx(float(tags["test.accuracy"]), abs=1e-6)
    assert event.by in (tags["promotion.by"], tags["gate.by"])


def test_of_two_answers_about_one_version_the_first_counts(registry: World, client: MlflowClient) -> None:
    switch.require_approval(NAME, registry.settings)
    assert promote(registry, Registry.GOOD).answer == "waits"
    first, second = (evaluate_candidate(NAME, Registry.GOOD, registry.settings) for _ in range(2))
    switch.carry_out(answered(first, "declined", "too early", "Bob"), registry.settings, answers=True)
    with pytest.raises(ExternalError, match="answered meanwhile"):
        yes = answered(second, "approved", "looks right", "Ada")
        switch.carry_out(yes, registry.settings, answers=True)
    assert (champion_of(client, NAME), len(events_of(client, NAME))) == (None, 1)


def test_a_yes_is_judged_against_the_champion_of_its_moment(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    switch.require_approval(NAME, registry.settings)
    assert promote(registry, Registry.GOOD).answer == "waits"
    client.set_registered_model_alias(NAME, "champion", str(Registry.NEWEST))  # by hand, and as good
    answer = switch.answer(NAME, Registry.GOOD, registry.settings, promote=True, by="Ada")
    assert (answer.answer, champion_of(client, NAME)) == ("refused", Registry.NEWEST)
    assert "promotion.waits" not in client.get_model_version(NAME, str(Registry.GOOD)).tags


@pytest.mark.parametrize("step", ["set_registered_model_alias", "delete_model_version_tag"])
def test_an_approval_that_is_killed_can_be_given_again_or_was_carried_out(
    registry: World, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    switch.require_approval(NAME, registry.settings)
    promote(registry, Registry.GOOD)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, step, die)
        switch.answer(NAME, Registry.GOOD, registry.settings, promote=True, by="Ada")
    if champion_of(client, NAME) is None:
        switch.answer(NAME, Registry.GOOD, registry.settings, promote=True, by="Ada")
    else:
        with pytest.raises(ExternalError, match="answered meanwhile"):
            switch.answer(NAME, Registry.GOOD, registry.settings, promote=False, by="Ada")
    assert champion_of(client, NAME) == Registry.GOOD


def test_a_person_says_no_though_nothing_can_be_judged_any_more(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    switch.require_approval(NAME, registry.settings)
    judged = promote(registry, Registry.GOOD)
    with hidden(files_of(client, Registry.GOOD)):
        no = switch.answer(NAME, Registry.GOOD, registry.settings, promote=False, reason="too early", by="Ada")
    assert (no.answer, no.champion, no.decision) == ("declined", Registry.POOR, judged.decision)
    assert events_of(client, NAME)[-1].rules == tuple(rule.line for rule in judged.decision.rules)
    assert "promotion.waits" not in client.get_model_version(NAME, str(Registry.GOOD)).tags


def test_a_no_counts_for_the_same_weights_that_were_trained_again(registry: World, client: MlflowClient) -> None:
    first = evaluate_candidate(NAME, Registry.GOOD, registry.settings)
    switch.carry_out(answered(first, "declined", "too early", "Bob"), registry.settings)
    found = client.get_model_version(NAME, str(Registry.GOOD))
    again = int(client.create_model_version(NAME, found.source, found.run_id, tags=found.tags).version)
    outcome = promote(registry, again)
    assert outcome.event is None
    assert f"version {Registry.GOOD}, an equal one, was declined by Bob" in outcome.summary
    assert promote(registry, Registry.NEWEST).event is not None  # of other weights
    assert promote(registry, again, force=True, reason="Bob agrees").event is not None
    assert gate.DECLINE not in [
        rule.name for rule in evaluate_candidate(NAME, Registry.GOOD, registry.settings).decision.rules
    ]


def test_approval_is_required_of_everybody_until_the_tag_is_removed(
    registry: World, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.enter(monkeypatch)
    refused = refusal("promote", "--require-approval", "--force", "--reason", "why", "--dataset", "sample")
    assert (refused.exit_code, asks(NAME, registry.settings)) == (2, False)
    switch.require_approval(NAME, registry.settings)
    assert asks(NAME, registry.settings)
    client.delete_registered_model_tag(NAME, "promotion.approval")
    assert not asks(NAME, registry.settings)


def test_each_decision_is_sent_in_one_sentence(registry: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        promote(registry, Registry.POOR, force=True, reason="the first")
        promote(registry, Registry.GOOD)
        promote(registry, Registry.POOR)
        switch.rollback(NAME, "back", registry.settings)
    good, poor = str(Registry.GOOD), str(Registry.POOR)
    assert [(each["event"], each["model"], each["model_version"]) for each in got.messages] == [
        ("promoted", NAME, poor), ("promoted", NAME, good), ("refused", NAME, poor), ("rolled-back", NAME, poor),
    ]  # fmt: skip
    texts = [each["text"].removeprefix(f"Sentiflow: {NAME} version ") for each in got.messages]
    assert texts[:2] == [
        f"{poor} is now the champion, the first one (forced).",
        f"{good} is now the champion, replacing version {poor} (passed).",
    ]
    assert texts[2].startswith(f"{poor} was not promoted: ")
    assert texts[3] == f"{poor} is the champion again, not version {good}, by {person()}: back"


def test_the_gate_refuses_the_worse_and_nothing_moves(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.GOOD)
    outcome = promote(registry, Registry.POOR)
    assert champion_of(client, NAME) == Registry.GOOD
    with pytest.raises(
        RejectedError, match=rf"{NAME} version {Registry.POOR} was not promoted: \d of 6 checks failed \(.*better"
    ) as refused:
        outcome.need_promotion()
    assert refused.value.exit_code == 4
    override = (
        f'Promote it all the same: sentiflow promote {Registry.POOR} --dataset sample --force --reason "..."'
    )
    assert override in refused.value.hint and "SENTIFLOW_GATE_" in refused.value.hint
    assert client.get_model_version(NAME, str(Registry.POOR)).tags["gate.outcome"] == "refused"
    assert len(events_of(client, NAME)) == 1


def test_force_overrides_the_gate_and_is_recorded_as_such(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.GOOD)
    promote(registry, Registry.POOR, force=True, reason="an experiment")
    assert champion_of(client, NAME) == Registry.POOR
    event = events_of(client, NAME)[-1]
    assert (event.decision, event.reason) == ("forced", "an experiment")
    assert any(rule.startswith("failed: better, ") for rule in event.rules)


def accuracy_tag(client: MlflowClient, number: int) -> float:
    return float(client.get_model_version(NAME, str(number)).tags["test.accuracy"])


def test_a_champion_without_stored_scores_is_scored_again_with_the_same_outcome(
    registry: World, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    stored = evaluate_candidate(NAME, Registry.GOOD, registry.settings).decision
    run = client.get_model_version(NAME, str(Registry.POOR)).run_id
    client.delete_run(run)
    scores = Path(client.get_run(run).info.artifact_uri.removeprefix("file://")) / "test_scores.parquet"
    hidden = scores.rename(scores.with_suffix(".hidden"))
    try:
        with caplog.at_level(logging.INFO):
            again = evaluate_candidate(NAME, Registry.GOOD, registry.settings).decision
    finally:
        hidden.rename(scores)
    assert "scored again" in caplog.text
    assert f"scoring the test reviews with version {Registry.POOR}" in caplog.messages
    assert again.comparison == stored.comparison


def test_a_champion_of_another_state_of_the_dataset_is_scored_on_the_candidates_reviews(
    registry: World, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    stored = evaluate_candidate(NAME, Registry.GOOD, registry.settings).decision
    client.set_model_version_tag(NAME, str(Registry.POOR), "dataset.digest", "0" * 64)
    with caplog.at_level(logging.INFO):
        again = evaluate_candidate(NAME, Registry.GOOD, registry.settings).decision
    assert "on other reviews" in caplog.text
    assert again.comparison == stored.comparison


def by_hand(client: MlflowClient, number: int, of_run: int = Registry.GOOD) -> int:
    """Register the files of a version as of another's run, without tags, as a person does in MLflow's UI."""
    run = client.get_model_version(NAME, str(of_run)).run_id
    return int(client.create_model_version(NAME, files_of(client, number).as_uri(), run).version)


def test_a_version_that_a_person_registered_is_judged_by_its_own_weights(
    registry: World, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Red if it is judged by the scores of the run that the person named."""
    promote(registry, Registry.POOR, force=True, reason="the first")
    number = by_hand(client, Registry.POOR, of_run=Registry.GOOD)
    with caplog.at_level(logging.INFO):
        decision = evaluate_candidate(NAME, number, registry.settings).decision
    assert f"version {number} may have other weights than its run: scored again" in caplog.messages
    assert decision.accuracy == decision.champion_accuracy == accuracy_tag(client, Registry.POOR)


def files_of(client: MlflowClient, version: int) -> Path:
    return Path(client.get_model_version_download_uri(NAME, str(version)).removeprefix("file://"))


@contextmanager
def hidden(path: Path) -> Iterator[None]:
    """Files that are away for a while; other tests share them."""
    away = path.rename(path.with_name(f"{path.name}.away"))
    try:
        yield
    finally:
        away.rename(path)


def test_a_champion_that_cannot_score_any_more_is_replaced_by_force_alone(
    registry: World, client: MlflowClient
) -> None:
    """Its files are gone, and its scores are of other reviews."""
    promote(registry, Registry.POOR, force=True, reason="the first")
    client.set_model_version_tag(NAME, str(Registry.POOR), "dataset.digest", "0" * 64)
    with hidden(files_of(client, Registry.POOR)):
        with pytest.raises(ExternalError, match="The champion cannot be compared with: Cannot load") as caught:
            promote(registry, Registry.GOOD)
        assert f"sentiflow promote {Registry.GOOD} --dataset sample --force" in caught.value.hint
        with pytest.raises(ExternalError, match="The champion cannot be compared with"):
            evaluate_candidate(NAME, Registry.GOOD, registry.settings)
        outcome = promote(registry, Registry.GOOD, force=True, reason="its files are gone")
    assert [rule.name for rule in outcome.decision.failures] == ["better"]
    assert champion_of(client, NAME) == Registry.GOOD


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (requests.ConnectionError("refused"), "The tracking store .* failed: refused"),
        (OSError(errno.ENOSPC, "No space left"), "Cannot load .* version 2: .*No space left"),
        (MlflowException("a bad gateway"), "The tracking store .* failed: a bad gateway"),
    ],
    ids=["network", "disk", "server"],
)
def test_a_champion_that_cannot_be_reached_now_is_not_replaced_by_force(
    registry: World, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, failure: Exception, told: str
) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    client.set_model_version_tag(NAME, str(Registry.POOR), "dataset.digest", "0" * 64)
    real = mlflow.artifacts.download_artifacts

    def failing(uri: str, **options: str) -> str:
        if uri == f"models:/{NAME}/{Registry.POOR}":
            raise failure
        return real(uri, **options)

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", failing)
    with pytest.raises(ExternalError, match=told) as caught:
        promote(registry, Registry.GOOD, force=True, reason="its files are gone")
    assert "--force" not in caught.value.hint
    assert champion_of(client, NAME) == Registry.POOR


def test_what_goes_while_a_person_thinks_stops_the_switch(registry: World, client: MlflowClient) -> None:
    candidate = switch.decide(evaluate_candidate(NAME, Registry.GOOD, registry.settings))
    with hidden(files_of(client, Registry.GOOD)), pytest.raises(ExternalError, match="Cannot load"):
        switch.carry_out(candidate, registry.settings)
    assert champion_of(client, NAME) is None
    assert "gate.outcome" not in client.get_model_version(NAME, str(Registry.GOOD)).tags
    client.delete_model_version(NAME, str(Registry.GOOD))
    with pytest.raises(ExternalError, match="was deleted meanwhile"):
        switch.carry_out(candidate, registry.settings)


def test_no_rollback_to_a_version_that_our_own_scorer_cannot_read(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    promote(registry, Registry.GOOD)
    config = files_of(client, Registry.POOR) / "artifacts" / "scorer.json"
    with hidden(config):
        config.write_text(json.dumps({"format": 1, "sequence_length": 80}))
        try:
            with pytest.raises(ExternalError, match="Cannot load"):
                switch.rollback(NAME, "back", registry.settings)
        finally:
            config.unlink()
    assert champion_of(client, NAME) == Registry.GOOD


def test_a_rollback_leads_back_and_again_further_back(registry: World, client: MlflowClient) -> None:
    for version in (Registry.POOR, Registry.GOOD, Registry.NEWEST):
        promote(registry, version, force=True, reason="in turn")
    first = switch.rollback(NAME, "first", registry.settings)
    assert (first.version, first.run_id) == (
        Registry.GOOD, client.get_model_version(NAME, str(Registry.GOOD)).run_id,
    )  # fmt: skip
    assert switch.rollback(NAME, "second", registry.settings).version == Registry.POOR
    with pytest.raises(UsageError, match="no earlier champion") as last:
        switch.rollback(NAME, "third", registry.settings)
    assert last.value.hint == "See: sentiflow versions --history --dataset sample"
    events, champion = history_of(NAME, registry.settings)
    assert champion == champion_of(client, NAME) == Registry.POOR
    assert [(event.kind, event.reason) for event in events[3:]] == [("rollback", "first"), ("rollback", "second")]
    assert client.get_model_version(NAME, str(Registry.POOR)).tags["rollback.reason"] == "second"


def test_a_rollback_needs_a_reason_and_a_champion(registry: World) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        switch.rollback(NAME, " ", registry.settings)
    with pytest.raises(UsageError, match="no champion") as none:
        switch.rollback(NAME, "why not", registry.settings)
    assert none.value.hint == "Make one: sentiflow promote --dataset sample"


def test_a_version_that_an_alias_holds_is_not_deleted(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.GOOD)
    client.set_registered_model_alias(NAME, "shadow", str(Registry.POOR))
    for version, alias, way_out in (
        (Registry.GOOD, "champion", "Promote another or roll back first."),
        (Registry.POOR, "shadow", "Remove the alias in MLflow first."),
    ):
        with pytest.raises(UsageError, match=f"held by the alias {alias}") as held:
            switch.delete(NAME, version, registry.settings)
        assert held.value.hint == way_out
    switch.delete(NAME, Registry.NEWEST, registry.settings)
    with pytest.raises(UsageError, match=f"no version {Registry.NEWEST}"):
        switch.delete(NAME, Registry.NEWEST, registry.settings)


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(registry: World, client: MlflowClient) -> None:
    promote(registry, Registry.POOR, force=True, reason="the first")
    candidates = [
        answered(evaluate_candidate(NAME, version, registry.settings), "passed", "both at once", "test")
        for version in (Registry.GOOD, Registry.NEWEST)
    ]
    ready, errors, done = threading.Barrier(2), [], []

    def run(which: int) -> None:
        ready.wait()
        try:
            done.append(switch.carry_out(candidates[which], registry.settings))
        except ExternalError as err:
            errors.append(err)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == len(errors) == 1
    assert "somebody else changed it meanwhile" in str(errors[0])
    won = done[0].version
    (lost,) = {Registry.GOOD, Registry.NEWEST} - {won}
    assert champion_of(client, NAME) == won
    assert len(events_of(client, NAME)) == 2
    assert not [
        tag for tag in client.get_model_version(NAME, str(lost)).tags if tag.startswith(("gate.", "promotion."))
    ]


def test_where_the_switch_fails_the_old_champion_stays_and_the_event_shows_as_not_in_effect(
    registry: World, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if the event is written after the switch: one that was killed in between then has no history."""
    promote(registry, Registry.POOR, force=True, reason="the first")

    def failing(*_: object) -> None:
        raise MlflowException("a bad gateway")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", failing)
        with pytest.raises(ExternalError, match="a bad gateway"):
            promote(registry, Registry.GOOD, force=True, reason="better")
    assert [(event.version, event.done) for event in events_of(client, NAME)] == [
        (Registry.POOR, True), (Registry.GOOD, False),
    ]  # fmt: skip
    assert champion_of(client, NAME) == Registry.POOR
