"""SIGKILL at each step of drawing, importing, using and deleting labels."""

import csv
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sample import sample_rows
from sentiflow.monitoring.labelling import new_sample, reviewed
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.monitoring.sample import Sample, samples
from sentiflow.run.record import KIND, MONITOR
from sentiflow.settings import Settings
from sentiflow.store import review
from sentiflow.store.client import connect
from tests.faults.kills import Command, kill
from tests.faults.worlds import NAME, SAMPLE, Worlds, all_runs, check_whole, put_in_use
from tests.world import Registry, World

LOGGED, DRAWN, ANNA = 300, 30, "anna"
MODEL = "reviews-sentiment"  # of a folder, for labels to become a table in
TRUTH = {text: label for text, label, _ in sample_rows(LOGGED, 2, 11)}


def _settings(world: World) -> Settings:
    return world.settings.model_copy(update={"prediction_log_dir": world.root / "log"})


def variables_of(world: World) -> dict[str, str]:
    return {"SENTIFLOW_PREDICTION_LOG_DIR": str(world.root / "log")}


def _first(world: World, model: str = NAME) -> Sample:
    return samples(model, _settings(world))[0]


def _other(sample: Sample, text: str) -> str:
    """The wrong label: enough of them are a drop of the accuracy."""
    return sample.names[1 - TRUTH[text]]


def _log(world: World, model: str = NAME) -> None:
    log = TextLog(world.root / "log", 10_000_000)
    log.append([Entry("2026-01-01T00:00:00", SERVED, model, Registry.GOOD, 0.5, text) for text in TRUTH])


def _drawn(world: World, model: str = NAME) -> None:
    _log(world, model)
    sample = new_sample(model, DRAWN, [], _settings(world))
    with (world.root / "labels.csv").open("w", newline="") as lines:
        rows = [(drawn.id, drawn.text, _other(sample, drawn.text)) for drawn in sample.texts]
        csv.writer(lines).writerows([("id", "text", "label"), *rows])


def _labelled(world: World, model: str = NAME) -> None:
    _drawn(world, model)
    sample = _first(world, model)
    given = [review.Label(drawn.trace, ANNA, _other(sample, drawn.text)) for drawn in sample.texts]
    review.add_labels(sample.title, sample.experiment, given, _settings(world))


def _labelled_of_a_folder(world: World) -> None:
    client = connect(world.settings)
    client.copy_model_version(f"models:/{NAME}/{Registry.GOOD}", MODEL)
    client.set_registered_model_alias(MODEL, "champion", "1")
    _labelled(world, MODEL)
    folder, names = world.root / "reviews", _first(world, MODEL).names
    folder.mkdir()
    rows = [(text, names[label]) for text, label, _ in sample_rows(40, 2, 12)]
    with (folder / "first.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("text", "label"), *rows])


def _is_drawn(world: World) -> None:
    """Every sample has its traces and its queue, and no trace or text belongs to two, or to none."""
    check_whole(world, Registry.GOOD)
    found = samples(NAME, _settings(world))
    assert 1 <= len(found) <= 2 and all(len(each.texts) == DRAWN for each in found), found
    texts = [drawn.text for each in found for drawn in each.texts]
    assert len(set(texts)) == len(texts) and set(texts) <= TRUTH.keys(), "a text was drawn twice"
    traces = {drawn.trace for each in found for drawn in each.texts}
    with closing(sqlite3.connect(world.root / "mlruns" / "mlflow.db")) as database:
        kept = {one for (one,) in database.execute("SELECT request_id FROM trace_info")}
        queues = [
            one for (one,) in database.execute("SELECT name FROM review_queues WHERE name LIKE '% sample %'")
        ]
    assert kept == traces, f"{len(kept)} traces of {len(traces)} texts"
    assert sorted(queues) == sorted(each.title for each in found), queues


def _is_imported(world: World) -> None:
    check_whole(world, Registry.GOOD)
    (sample, labels), *_ = reviewed(NAME, _settings(world))
    told = {(label.trace, label.by): label.value for label in labels}
    assert told == {(drawn.trace, ANNA): _other(sample, drawn.text) for drawn in sample.texts}


def _is_told(world: World) -> None:
    """The accuracy and the drift stand in finished runs, and the next check has nothing to tell."""
    check_whole(world, Registry.GOOD)
    sample, client = _first(world), connect(world.settings)
    assert sample.told and sample.dropped, sample.told
    runs = [run for run in all_runs(client) if run.data.tags.get(KIND) == MONITOR]
    for name in ("live/accuracy", "drift/texts"):
        assert [run for run in runs if run.info.status == "FINISHED" and name in run.data.metrics], f"no {name}"
    again = world.run("monitor", *SAMPLE, PREFECT_API_URL="", **variables_of(world))
    assert again.returncode == 0 and "Only 0 new texts" in again.stdout + again.stderr, again.stderr
    assert len([run for run in all_runs(client) if run.data.tags.get(KIND) == MONITOR]) == len(runs), "told twice"


def _is_a_table(world: World) -> None:
    check_whole(world, Registry.GOOD)
    sample = _first(world, MODEL)
    (file,) = [path for path in (world.root / "reviews").rglob("*") if path.name != "first.csv" and path.is_file()]
    rows = {row["text"]: row["label"] for row in map(json.loads, file.read_text().splitlines())}
    assert rows == {drawn.text: _other(sample, drawn.text) for drawn in sample.texts}
    assert sample.tables == [str(file)], sample.tables


def _is_deleted(world: World) -> None:
    check_whole(world, Registry.GOOD)
    with (world.root / "labels.csv").open(newline="") as lines:
        text = next(csv.DictReader(lines))["text"]
    (world.root / "labels.csv").unlink()
    left = [path.name for path in world.root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    assert not left, f"the text is still in {left}"
    sample = _first(world)
    assert len(sample.texts) == DRAWN - 1 and sum(sample.population) == len(TRUTH) - 1


@dataclass(frozen=True)
class Given:
    """What there is before the kill, and the command."""

    prepare: Callable[[World], None]
    command: Command


def _given(
    prepare: Callable[[World], None], steps: dict[str, int], check: Callable[[World], None],
    arguments: Callable[[World], tuple[str, ...]], codes: tuple[int, ...] = (0,),
) -> Given:  # fmt: skip
    return Given(prepare, Command(arguments, lambda _: True, 0, steps, check, codes))


_TRACING = "mlflow.tracing.client:TracingClient."
_LABELLING = "sentiflow.monitoring.labelling:"
_LOG = "sentiflow.monitoring.log:TextLog."
_TASKS = "flows.monitor:"

COMMANDS = {
    "label": _given(
        _log,
        {
            "sentiflow.store.review:_write": DRAWN, f"{_TRACING}start_trace": DRAWN,
            f"{_TRACING}_create_label_schema": 1, f"{_TRACING}_create_review_queue": 1,
            f"{_TRACING}_add_items_to_review_queue": 1, "sentiflow.monitoring.sample:keep": 1,
        },
        _is_drawn, lambda _: ("label", *SAMPLE, "--texts", str(DRAWN)),
    ),
    "label --import": _given(
        _drawn, {"sentiflow.store.review:_add_label": DRAWN}, _is_imported,
        lambda _: ("label", *SAMPLE, "--import", "labels.csv", "--by", ANNA),
    ),
    "label --delete": _given(
        _drawn,
        {
            f"{_LABELLING}_drop_row": 1, "sentiflow.store.review:delete": 1,
            "sentiflow.data.reviews:forget": 1, f"{_LOG}delete": 1, "sentiflow.monitoring.sample:keep": 2,
        },
        _is_deleted, lambda world: ("label", *SAMPLE, "--delete", _first(world).texts[0].id), (0, 2),
    ),
    "monitor": _given(
        _labelled,
        {
            f"{_TASKS}create": 2, f"{_TASKS}_tell": 1, f"{_LOG}mark": 2,
            "sentiflow.monitoring.accuracy:mark": 1, "sentiflow.monitoring.check:collect_texts": 1,
            "sentiflow.monitoring.check:compare": 1, f"{_TASKS}publish_summary": 2,
        },
        _is_told, lambda _: ("monitor", *SAMPLE),
    ),
    "data --from-labels": _given(
        _labelled_of_a_folder, {"sentiflow.monitoring.sample:keep": 1, f"{_LABELLING}publish_private": 1},
        _is_a_table,
        lambda world: ("data", "--dataset", str(world.root / "reviews"), "--from-labels"),
    ),
}  # fmt: skip
STEPS = [(name, step) for name, given in COMMANDS.items() for step in given.command.steps]


def killed(worlds: Worlds, folder: Path, seed: int) -> None:
    """Kill a command before or after a call of a step; the same one then works, and nothing is left or lost."""
    world, random_ = worlds.copy(folder), random.Random(seed)
    put_in_use(world, Registry.GOOD)
    name, step = STEPS[seed * 5 % len(STEPS)]
    given, variables = COMMANDS[name], variables_of(world)
    given.prepare(world)
    command = given.command
    arguments = command.arguments(world)
    one = Command(lambda _: arguments, command.begun, 0, {step: command.steps[step]}, command.check, command.codes)
    kill(world, name, one, random_, at_step=True, **variables)
    again = world.run(*arguments, timeout=600, PREFECT_API_URL="", **variables)
    assert again.returncode in command.codes, (
        f"{name} again ended with {again.returncode}: {again.stderr[-1_500:]}"
    )
    command.check(world)
