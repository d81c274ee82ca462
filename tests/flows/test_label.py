"""Samples of logged texts, from the log to the alarm, by commands and in MLflow's page."""

import csv
import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from markupsafe import escape
from playwright.sync_api import Response, TimeoutError

from benchmarks import sample as generator
from flows.monitor import monitor
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.monitoring.sample import Sample, samples
from sentiflow.store import review
from sentiflow.store.client import connect
from sentiflow.store.review import Label
from tests import browsers
from tests.receiver import receiver
from tests.ui import running_ui
from tests.world import Trained, World, refusal, with_own_files

MODEL = "sample-sentiment"
TRUTH = {
    text: ("negative", "positive")[label]
    for text, label, split in generator.sample_rows(2, 300, 11)
    if split == "test"
}


def serve(world: World, texts: Iterable[str], at: str = "2026-01-01T00:00:00", model: str = MODEL) -> None:
    """Log texts, as the service does."""
    log = TextLog(world.root / "log", 10_000_000)
    log.append([Entry(at, SERVED, model, 1, 0.5, text) for text in texts])


@pytest.fixture
def logged(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with a trained version, and a log of 300 texts."""
    made = with_own_files(tmp_path, trained.world)
    made.enter(monkeypatch)
    monkeypatch.setenv("SENTIFLOW_PREDICTION_LOG_DIR", str(tmp_path / "log"))
    serve(made, TRUTH)
    return made


def run(world: World, *arguments: str) -> str:
    done = world.run(*arguments, SENTIFLOW_PREDICTION_LOG_DIR=str(world.root / "log"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def newest(world: World, model: str = MODEL) -> Sample:
    return samples(model, world.settings)[-1]


def write(file: Path, rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)


def holding(world: World, text: str) -> set[str]:
    """Names of the files that hold a text, the databases of the log and of MLflow among them."""
    forms = {form.encode() for form in (text, json.dumps(text)[1:-1], str(escape(text)))}
    files = [path for path in world.root.rglob("*") if path.is_file()]
    return {path.name for path in files if any(form in path.read_bytes() for form in forms)}


def say(world: World, by: str, wrong: bool = False, texts: int | None = None) -> None:
    """Label texts of the first sample, by default all, as they are or wrong."""
    sample = samples(MODEL, world.settings)[0]
    said = [(each.trace, sample.names.index(TRUTH[each.text]) ^ wrong) for each in sample.texts[:texts]]
    labels = [Label(trace, by, sample.names[answer]) for trace, answer in said]
    review.add_labels(sample.title, sample.experiment, labels, world.settings)


def label(world: World, sample: Sample, by: str, value: str, texts: int | None = None) -> None:
    """Give texts of a sample, by default all, the same label."""
    labels = [Label(each.trace, by, value) for each in sample.texts[:texts]]
    review.add_labels(sample.title, sample.experiment, labels, world.settings)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "SENTIFLOW_PREDICTION_LOG_DIR"),  # without a log nothing is drawn
        (["--by", ",".join("abcdefghijk")], "at most 10 people, not 11"),
        (["--import", "x.csv"], "one person's"),
        (["--export", "x.csv", "--delete", "text-1"], "do not go together"),
    ],
)
def test_a_wrong_use_is_told(
    trained: Trained, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.world.enter(monkeypatch)
    error = refusal("label", *arguments)
    assert (error.exit_code, told in f"{error}") == (2, True), error


@pytest.mark.story
def test_true_labels_tell_the_accuracy_and_wrong_ones_raise_the_alarm(
    logged: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SENTIFLOW_MONITOR_DROP", "0.3")  # further than true labels may lie by chance
    told = run(logged, "label", "--texts", "60")
    assert "60 of 300 texts" in told and "review-queue?selectedQueueId=" in told
    assert not re.search(r"[^.\d]0\.\d|%|positive|negative", told), "blind"
    run(logged, "label", "--export", "texts.csv")
    rows = list(csv.DictReader((logged.root / "texts.csv").open()))
    with (logged.root / "done.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("id", "label"), *((row["id"], TRUTH[row["text"]]) for row in rows)])
    run(logged, "label", "--import", "done.csv", "--by", "anna")
    with receiver() as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        (line,) = monitor("sample").accuracy
        assert "60 of the 60 texts" in line and "not beyond chance below" in line
        assert monitor("sample").accuracy == (), "told once"
        assert not [message for message in got.messages if message["event"] == "dropped"]
        for by in ("bob", "cleo"):
            say(logged, by, wrong=True)
        before = newest(logged)
        outcome = monitor("sample")
        (line,) = outcome.accuracy
        assert outcome.summary == f"{line} Only 0 new texts (minimum 200); they are left to the next check."
        (sample,) = samples(MODEL, logged.settings)
        assert line == f"{sample.told}."
        assert before.told != sample.told
        (message,) = (each["text"] for each in got.messages if each["event"] == "dropped")
        assert outcome.dropped and "sentiflow label --dataset sample" in message
        assert "below the test accuracy" in line and "not beyond" not in line
        told = [[message["event"] for message in got.messages].count("dropped")]
        for wrong, texts in ((False, 1), (False, None), (True, None)):  # still an alarm; none; and one again
            for by in ("bob", "cleo"):
                say(logged, by, wrong, texts)
            monitor("sample")
            told.append([message["event"] for message in got.messages].count("dropped"))
    assert told == [1, 1, 1, 2]
    client = connect(logged.settings)
    found = client.search_runs(["1"], "tags.`live.sample` = '1'")
    assert [round(each.data.metrics["live/labels"]) for each in found] == 5 * [60]
    values = [each.data.metrics["live/accuracy"] for each in found]
    assert min(values) < 0.3 and max(values) > 0.7


@pytest.mark.story
def test_a_drop_of_a_version_that_was_replaced_is_reported_and_no_alarm(logged: World) -> None:
    run(logged, "label", "--texts", "20")
    client = connect(logged.settings)
    first = client.get_model_version(MODEL, "1")
    second = client.create_model_version(MODEL, first.source, first.run_id, tags=first.tags)
    client.set_registered_model_alias(MODEL, "champion", second.version)
    say(logged, "anna", wrong=True)
    outcome = monitor("sample")
    assert "of sample 1, of version 1: below the test accuracy" in outcome.accuracy[0]
    assert not outcome.dropped


@pytest.mark.story
def test_a_late_label_of_an_older_sample_is_not_the_accuracy_in_use(logged: World) -> None:
    """The gauge is the newest sample's, once that is complete."""

    def gauge() -> dict[str, float | None]:
        notes = TextLog(logged.root / "log", 0).notes()
        return {model: note.accuracy for model, note in notes.items() if note.accuracy is not None}

    run(logged, "label", "--texts", "20")
    older = newest(logged)
    serve(logged, [f"{text} So." for text in TRUTH], at="2026-02-01T00:00:00")
    run(logged, "label", "--texts", "20")
    label(logged, newest(logged), "anna", "negative", 19)
    monitor("sample")
    assert gauge() == {}
    label(logged, newest(logged), "anna", "negative")
    monitor("sample")
    said = gauge()
    label(logged, older, "anna", "positive")
    assert len(monitor("sample").accuracy) == 1
    assert gauge() == said and list(said) == [MODEL]


@pytest.mark.story
def test_a_deleted_text_is_nowhere_but_in_reports_that_are_named(logged: World) -> None:
    """Red if the log, the sample, or MLflow's tables or files still hold it; a report that does is named."""
    made = json.loads(run(logged, "label", "--texts", "300", "--json"))
    assert (made["sample"], made["texts"]) == (1, 300) and "/review-queue?" in made["page"]
    say(logged, "anna")
    monitor("sample")
    work = logged.settings.data_dir / "work"
    drawn = newest(logged)
    quoted = [each for each in drawn.texts if "report.html" in holding(logged, each.text)]
    assert len(quoted) == 6, "as many as a report shows"
    gone, kept = quoted[0], next(each for each in drawn.texts if each not in quoted)
    for place in (work / f"{MODEL}.label", work / f"{MODEL}.monitor"):  # as killed commands leave it
        place.mkdir()
        (place / "left").write_text(gone.text)
    (logged.settings.data_dir / "samples" / MODEL / ".1.json.a.partial").write_text(gone.text)
    before = holding(logged, kept.text)
    told = run(logged, "label", "--delete", gone.trace)
    (checked,) = connect(logged.settings).search_runs(["1"], "tags.`monitor.drift` != ''")
    assert f"{checked.info.run_id[:8]} ({checked.info.run_name})" in told
    assert holding(logged, gone.text) == {"report.html"} and holding(logged, kept.text) == before
    assert {each.trace for each in newest(logged).texts} == {each.trace for each in drawn.texts} - {gone.trace}
    labels = review.read(drawn.title, drawn.experiment, logged.settings)[1]
    assert {label.trace for label in labels} == {each.trace for each in newest(logged).texts}
    assert sum(newest(logged).population) == 299


Votes = dict[tuple[str, str], str]
"""What a person said of a text, by the text's trace and the person."""


def votes(world: World, sample: Sample) -> Votes:
    """The last that each said, straight from MLflow's tables."""
    ask = "SELECT trace_id, source_id, value FROM assessments WHERE name = ? AND valid ORDER BY created_timestamp"
    with closing(sqlite3.connect(world.root / "mlruns" / "mlflow.db")) as database:
        return {(trace, by): json.loads(value) for trace, by, value in database.execute(ask, (sample.title,))}


@pytest.mark.story
def test_two_people_label_at_once_in_mlflows_page(logged: World) -> None:
    run(logged, "label", "--texts", "20", "--by", "anna,bob")
    sample = newest(logged)
    given = labelled_by_two(logged, sample)
    assert votes(logged, sample) == given
    assert {trace for trace, _ in given} == {each.trace for each in sample.texts}
    assert {by for _, by in given} == {"anna", "bob"}


def labelled_by_two(world: World, sample: Sample) -> Votes:
    """Let two people label a sample in the page; gives what they said."""
    given: Votes = {}
    with running_ui(world) as ui:
        address = f"{ui.root}/#/experiments/{sample.experiment}/review-queue?selectedQueueId={sample.queue}"
        people = [
            threading.Thread(target=_label, args=(address, name, ui.login[1], sample, given))
            for name in ("anna", "bob")
        ]
        for each in people:
            each.start()
        for each in people:
            each.join()
    return given


def _label(address: str, name: str, password: str, sample: Sample, given: Votes) -> None:
    """Label what is not labelled yet, as it is, and note what MLflow took."""
    with browsers.chromium() as browser:
        context = browser.new_context(http_credentials={"username": name, "password": password})
        context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        page = context.new_page()
        page.set_default_timeout(60_000)

        def note(answer: Response) -> None:
            if answer.request.method == "POST" and answer.url.endswith("/assessments"):
                assert answer.ok
                given[answer.url.split("/")[-2], name] = answer.json()["assessment"]["feedback"]["value"]

        page.on("response", note)
        page.goto(address)
        page.get_by_role("button", name="Start review").click()
        page.get_by_text(" reviewed (").wait_for()
        for _ in range(3 * len(sample.texts)):
            shown = page.inner_text("body")
            assert " 0." not in shown and "stratum" not in shown
            if f"{len(sample.texts)} of {len(sample.texts)} reviewed" in shown or " reviewed (" not in shown:
                break
            value = next((TRUTH[text] for text in TRUTH if json.dumps(text)[1:-1] in shown), None)
            if value is None:  # it is on its way
                page.wait_for_timeout(300)
                continue
            try:
                page.get_by_text("Select an option").click(timeout=3_000)
                page.get_by_text(value, exact=True).click(timeout=3_000)
                page.get_by_role("button", name="Submit").click(timeout=3_000)
            except TimeoutError:  # the other person has just labelled it
                page.keyboard.press("Escape")
                onwards = page.get_by_role("button", name="Next unreviewed")
                if onwards.count() and onwards.is_enabled():
                    onwards.click()
            page.wait_for_timeout(300)
        page.wait_for_timeout(3_000)  # for the last answer
