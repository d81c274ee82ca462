"""Tests of scoring with registered versions."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from sentiflow.batch.dask import DaskWorkers
from sentiflow.batch.job import Request, Scored, _pool, score_input
from sentiflow.batch.labels import as_trained
from sentiflow.console import Advance
from sentiflow.data.division import text_id
from sentiflow.data.prepare import kept_table
from sentiflow.data.table import Label, TableOptions
from sentiflow.errors import ExternalError, UsageError
from sentiflow.monitoring.log import Entry, TextLog
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.settings import Settings
from sentiflow.store.client import connect
from sentiflow.store.records import Version
from tests.sentiflow.batch.test_workers import children
from tests.world import Trained, World

ROWS = 7_000  # four chunks
TEXTS = [f"good {'film ' * (k % 7)}{'bad' if k % 3 else ''}" for k in range(ROWS)]


def scorer(seed: int) -> TextScorer:
    rng = np.random.default_rng(seed)
    shapes = (8, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    weights = Weights(*(rng.normal(0, 0.8, shape).astype(np.float32) for shape in shapes))
    return TextScorer(weights, Vocabulary(("good", "bad", "film")), sequence_length=6)


@pytest.fixture
def registry(world: World) -> MlflowClient:
    """Two versions with files to score with."""
    client = connect(world.settings)
    experiment = client.create_experiment("any", artifact_location=(world.root / "files").as_uri())
    client.create_registered_model("imdb-sentiment")
    for seed in (1, 2):
        model = client.create_logged_model(experiment, name="imdb-sentiment")
        folder = Path(model.artifact_location.removeprefix("file://")) / "artifacts"
        folder.mkdir(parents=True)
        scorer(seed).save(folder)
        client.create_model_version("imdb-sentiment", f"models:/{model.model_id}", model_id=model.model_id)
    return client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "in.csv"
    pd.DataFrame({"text": TEXTS}).to_csv(made, index=False)
    return made


def run(world: World, request: Request) -> Scored:
    return score_input(request, world.settings)


def at_chunk(number: int, do: Callable[[], object]) -> Callable[[str, int], AbstractContextManager[Advance]]:
    """A bar that does something when so many chunks are done."""

    @contextmanager
    def progress(_what: str, _total: int) -> Iterator[Advance]:
        steps: list[int] = []

        def advance(step: int) -> None:
            steps.append(step)
            if len(steps) == number:
                do()

        yield advance

    return progress


def stop() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_run_that_was_ended_leaves_nothing_and_the_next_scores_what_is_there_by_who_is_in_use(
    world: World, registry: MlflowClient, path: Path, ending: str
) -> None:
    registry.set_registered_model_alias("imdb-sentiment", "champion", "1")
    request = Request(path, world.root / f"out.{ending}", with_text=True)
    with pytest.raises(KeyboardInterrupt):
        score_input(request, world.settings, at_chunk(2, stop))
    assert not list(world.root.glob("*out*"))
    registry.set_registered_model_alias("imdb-sentiment", "champion", "2")
    path.write_text(path.read_text().replace("good", "fine"))  # the same size
    done = run(world, request)
    assert (done.version.number, done.totals.rows) == (2, ROWS)
    whole = run(world, Request(path, world.root / f"whole.{ending}", with_text=True))
    assert done.output.read_bytes() == whole.output.read_bytes()
    if ending == "parquet":
        told, texts = pq.read_table(done.output)["score"], [text.replace("good", "fine") for text in TEXTS]
        np.testing.assert_allclose(told.to_numpy(), scorer(2).score(texts), rtol=0, atol=1e-14)


def test_an_input_that_changes_while_it_is_read_gives_no_output(
    world: World, registry: MlflowClient, path: Path
) -> None:
    def change() -> None:
        with path.open("a") as stream:
            stream.write("more\n")

    request = Request(path, world.root / "out.parquet")
    with pytest.raises(ExternalError, match="changed while it was read"):
        score_input(request, world.settings, at_chunk(1, change))
    assert not list(world.root.glob("*out*"))


@pytest.mark.parametrize(
    ("rows", "problem"), [("\n", "holds no rows"), ('" "\n" "\n', "can be scored: 2 no text")]
)
def test_a_table_without_rows_is_refused_and_what_was_there_stays(
    world: World, registry: MlflowClient, path: Path, rows: str, problem: str
) -> None:
    path.write_text(f"text\n{rows}")
    output = world.root / "out.parquet"
    output.write_bytes(b"an earlier output")
    with pytest.raises(UsageError, match=problem):
        run(world, Request(path, output))
    assert output.read_bytes() == b"an earlier output"
    assert not list(world.root.glob(".*"))


@pytest.fixture(scope="module")
def expected(trained: Trained) -> tuple[list[str], pd.DataFrame]:
    """Texts of all sorts, and what MLflow's own loading says of them."""
    import mlflow.pyfunc

    texts = [
        "The acting was dull and wooden.", "The direction was touching.\nAnd at times, rewarding!",
        "¡Película «estupenda»! 😀 ß İstanbul", '"quoted", with commas', "?!", "zzz unknown qqq",
        "The acting was fine but the ending was a mess. " * 60,
    ]  # fmt: skip
    connect(trained.world.settings)
    model = mlflow.pyfunc.load_model("models:/sample-sentiment/1")
    return texts, model.predict(pd.DataFrame({"text": texts}))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "folder"])
def test_every_kind_of_input_scores_as_mlflow_does(
    trained: Trained, expected: tuple[list[str], pd.DataFrame], tmp_path: Path, kind: str
) -> None:
    texts, said = expected
    frame, path = pd.DataFrame({"text": texts}), tmp_path / f"in.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        path.write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts))
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        path.mkdir()
        for k, text in enumerate(texts):
            (path / f"{k}.txt").write_text(text, encoding="utf-8")
    done = run(trained.world, Request(path, tmp_path / "out.parquet", workers=2))
    made = pd.read_parquet(done.output)
    assert made["row"].tolist() == list(range(1, len(texts) + 1))
    assert made["label"].tolist() == said["label"].tolist()
    np.testing.assert_allclose(made["score"], said["score"], rtol=0, atol=1e-12)
    assert set(made["model"]) == {"sample-sentiment"} and set(made["version"]) == {1}


def logged(folder: Path) -> list[Entry]:
    return [entry for batch in TextLog(folder, 10_000_000).unchecked("imdb-sentiment") for entry in batch]


def test_an_even_sample_of_what_is_scored_goes_to_the_text_log(
    world: World, registry: MlflowClient, path: Path, tmp_path: Path
) -> None:
    settings = world.settings.model_copy(update={"prediction_log_dir": tmp_path / "log"})
    score_input(Request(path, tmp_path / "out.parquet"), settings)
    entries = logged(tmp_path / "log")
    assert len(entries) == 5_000  # of 7,000
    assert {(entry.source, entry.model, entry.version) for entry in entries} == {("scored", "imdb-sentiment", 2)}
    table = pq.read_table(tmp_path / "out.parquet").to_pydict()
    said = dict(zip(TEXTS, table["score"], strict=True))
    assert [entry.score for entry in entries] == pytest.approx([said[entry.text] for entry in entries], abs=1e-12)


def test_as_many_processes_score_as_are_asked_for(world: World, registry: MlflowClient, path: Path) -> None:
    before, seen, began = children(), set(), time.monotonic()

    @contextmanager
    def progress(_what: str, _total: int) -> Iterator[Advance]:
        yield lambda _step: seen.add(len(children() - before))

    done = score_input(Request(path, world.root / "out.parquet", workers=2), world.settings, progress)
    assert seen == {2}
    assert done.summary == f"7,000 scored, 0 rejected, 7,000 rows in all: {done.output}"
    assert 0 < done.seconds <= time.monotonic() - began


def test_a_cluster_scores_where_the_settings_name_one_however_small_the_input_is() -> None:
    settings = Settings(task_runner="dask", dask_address="tcp://127.0.0.1:9")
    assert isinstance(_pool(SimpleNamespace(size=1), scorer(1), None, settings), DaskWorkers)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_labelled_table_is_compared_with_the_scores_and_keeps_its_labels(
    world: World, registry: MlflowClient, tmp_path: Path, ending: str
) -> None:
    """Every third row is labelled as it will be scored, every third otherwise, and the others have no use."""
    given = scorer(2).score(TEXTS) > 0.5
    labels = [str(int(given[k] ^ (k % 3 == 1))) if k % 3 < 2 else ("meh", "")[k % 2] for k in range(ROWS)]
    frame = pd.DataFrame({"text": TEXTS, "label": labels, "id": range(ROWS), "a,b": "x"})
    source = tmp_path / f"in.{ending}"
    if ending == "parquet":
        frame.to_parquet(source)
    elif ending == "jsonl":
        frame.to_json(source, orient="records", lines=True)
    else:
        frame.to_csv(source, index=False, sep="\t" if ending == "tsv" else ",")
    request = Request(source, tmp_path / "out.parquet", keep=("a,b", "id,label"), labelled=TableOptions())
    found = run(world, request).evaluation
    right = np.bincount(given[::3], minlength=2).tolist()
    wrong = np.bincount(given[1::3], minlength=2).tolist()
    assert found is not None and found.confusion == [[right[0], wrong[1]], [wrong[0], right[1]]]
    assert found.left_out == {"meh": 1_167, "": 1_166}
    output = pq.read_table(tmp_path / "out.parquet")
    assert output.column_names == ["row", "label", "score", "model", "version", "true_label", "a,b", "id"]
    assert output["true_label"].to_pylist() == labels
    of_none = TableOptions(label_column="id", labels={"0": "skip", "1": "skip"})
    with pytest.raises(UsageError, match="No row has a usable label in the column id"):
        run(world, Request(source, tmp_path / "none.csv", labelled=of_none))
    assert not list(tmp_path.glob("*none*"))


def test_rows_that_the_version_learnt_from_are_counted_and_the_accuracy_is_told_without_them(
    world: World, registry: MlflowClient, tmp_path: Path
) -> None:
    """Red if a table that was trained on told its accuracy as if it were new, or if its tested rows counted."""
    for key, value in {"dataset": "mine", "dataset.digest": "abc"}.items():
        registry.set_model_version_tag("imdb-sentiment", "2", key, value)
    kept = kept_table("mine", "abc", world.settings)
    kept.parent.mkdir(parents=True)
    splits = {"good film": "train", "bad film": "test", "bad": "train"}
    rows = {"review_id": [text_id(text) for text in splits], "split": list(splits.values())}
    pd.DataFrame(rows).to_parquet(kept)
    source = tmp_path / "in.csv"
    source.write_text("text,label\ngood film,1\nbad film,0\nbad,meh\ngood film,0\nnew,1\n")
    found = run(world, Request(source, tmp_path / "out.csv", labelled=TableOptions())).evaluation
    assert found is not None and found.learnt == 2
    answers = pd.read_csv(tmp_path / "out.csv")["label"]
    right = [answers[1] == "negative", answers[4] == "positive"]  # of "bad film" and "new"
    assert found.new is not None and found.new.accuracy == sum(right) / 2
    assert found.lines[1].startswith("2 of these rows")
    assert found.lines[2].startswith(f"Accuracy on the other 2: {sum(right) / 2:.2%} (95% interval ")
    source.write_text("text,label\ngood film,1\ngood film,0\n")
    found = run(world, Request(source, tmp_path / "all.csv", labelled=TableOptions())).evaluation
    assert found is not None and (found.learnt, found.new) == (2, None)


def test_labels_mean_what_they_meant_at_the_training_unless_a_whole_set_is_given(
    world: World, registry: MlflowClient
) -> None:
    """Red if one star counted as positive for a version that was trained with 1=0."""
    made = registry.create_run(registry.get_experiment_by_name("any").experiment_id)  # type: ignore[union-attr]
    registry.log_param(made.info.run_id, "table.labels", {"5": 1, "3": "skip", "1": 0})
    source = registry.get_model_version("imdb-sentiment", "2").source
    registry.create_model_version("imdb-sentiment", source, run_id=made.info.run_id)

    def labels(version: int, **given: Label) -> dict[str, Label]:
        options = TableOptions(labels={name.removeprefix("l"): value for name, value in given.items()})
        return as_trained(options, Version("imdb-sentiment", version, "any"), world.settings).labels

    assert labels(3) == {"5": 1, "3": "skip", "1": 0}
    assert labels(3, l3=0) == {"5": 1, "3": 0, "1": 0}
    assert labels(3, l1=1, l2=0) == {"1": 1, "2": 0}
    assert labels(2, meh="skip") == {"meh": "skip"}
    registry.delete_run(made.info.run_id)
    with pytest.raises(UsageError, match="There is no run"):
        labels(3)


def test_a_text_log_that_cannot_be_written_is_told_and_fails_no_scoring(
    world: World, registry: MlflowClient, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    settings = world.settings.model_copy(update={"prediction_log_dir": tmp_path / "file" / "log"})
    scored = score_input(Request(path, tmp_path / "out.parquet"), settings)
    assert scored.totals.scored == ROWS
    (said,) = caplog.messages
    assert said.startswith("The scored texts are not logged for monitoring: ")


def test_an_output_that_leads_to_the_input_is_refused_before_anything_is_made(
    world: World, registry: MlflowClient, path: Path, tmp_path: Path
) -> None:
    content = path.read_bytes()
    (tmp_path / "out.csv").symlink_to(path)
    with pytest.raises(UsageError, match="is the input"):
        run(world, Request(path, tmp_path / "out.csv"))
    assert path.read_bytes() == content
