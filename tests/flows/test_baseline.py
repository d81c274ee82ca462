"""A table of one's own beside the baseline: what a training says of it, and what the gate makes of it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from benchmarks.sample import sample_rows
from flows.cli.train import _single, next_commands
from flows.train import repeat, train
from sentiflow.data.table import TableOptions
from sentiflow.promotion.candidate import evaluate_candidate
from sentiflow.results import TrainingResult
from sentiflow.store.client import connect
from sentiflow.store.find import find_champion
from sentiflow.training.recipes import load_recipe
from tests.prefect_store import artifacts_of, tasks_of
from tests.world import World, make_world

# It learns next to nothing.
POOR = load_recipe("tutorial", ["epochs=1", "sequence_length=20", "units=4", "embedding_size=4"])


NEUTRAL = TableOptions(labels={"meh": "skip"})


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("baseline"), migrated_store)
    rows = [(text, label, "train" if k < 450 else "test") for k, (text, label, *_) in enumerate(sample_rows())]
    learnt = [(f"{text} zyx{k}", label, "test") for k, (text, label, _) in enumerate(rows[:50])]  # an unknown word
    neutral = [(text, "meh", "train") for text, *_ in rows[550:750]]
    rows = [*rows[:550], *learnt, *neutral, ("odd", "perhaps", "train")]
    table = pd.DataFrame(rows, columns=["text", "label", "split"])
    table.to_csv(made.root / "mine.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        made.enter(patch)
        yield made


@pytest.fixture(scope="module")
def result(own: World, prefect_server: None) -> TrainingResult:
    return train(POOR, str(own.root / "mine.csv"), 0, promote=True, table=NEUTRAL)


@pytest.fixture(scope="module")
def client(own: World) -> MlflowClient:
    return connect(own.settings)


def test_a_training_says_everywhere_what_the_network_loses(result: TrainingResult, client: MlflowClient) -> None:
    baseline, run = result.baseline, client.get_run(result.run_id)
    assert baseline is not None and baseline.high < 0
    assert "the network loses" in baseline.text and baseline.text in result.summary
    description = run.data.tags["mlflow.note.content"]
    assert baseline.text in description
    shown = artifacts_of(run.data.tags["prefect.flow_run_id"])
    assert any(each.key == "training-summary" and each.data == description for each in shown)
    assert baseline.text in client.get_model_version(result.model.name, str(result.model.version)).description
    page = Path(client.download_artifacts(result.run_id, "report.html")).read_text()
    assert baseline.text in page and "nb-ngrams, balanced accuracy" in page
    assert float(run.data.tags["time.baseline"]) > 0


def test_why_an_accuracy_says_little_stands_everywhere_and_nobody_is_asked_to_promote_it(
    result: TrainingResult, client: MlflowClient, own: World
) -> None:
    run, told = client.get_run(result.run_id), result.caveat
    assert (
        told.startswith("Not clearly better than one answer for all") and "reviews are few to learn from" in told
    )
    (near,) = re.findall(r"(\d+) of 150 test reviews share 90% of their word triples with learnt ones", told)
    (others, accuracy) = re.findall(r"accuracy on the (\d+) others: ([\d.]+)%", told)[0]
    assert int(near) + int(others) == 150
    assert float(accuracy) == pytest.approx(100 * run.data.metrics["test/accuracy_of_others"], abs=0.01)
    assert result.promotion is not None and told in result.promotion.decision.notes
    assert told in result.summary and run.data.tags["caveat"] == told
    assert told in run.data.tags["mlflow.note.content"]
    assert client.get_model_version(result.model.name, str(result.model.version)).tags["caveat"] == told
    assert told in Path(client.download_artifacts(result.run_id, "report.html")).read_text()
    assert result.baseline is not None and result.baseline.high < 0
    promotable = replace(result, promotion=None, caveat="", baseline=None)
    offered = [
        any("promote 1" in line for line in next_commands(each, own.settings))
        for each in (
            promotable,
            replace(promotable, caveat=told),
            replace(promotable, baseline=result.baseline),  # the gate would refuse it
        )
    ]
    assert offered == [True, False, False]


def test_beside_the_accuracy_stands_which_rows_it_is_of(
    result: TrainingResult, client: MlflowClient, own: World
) -> None:
    """200 of 800 rows have a label to skip."""
    on, run = "75% of the rows; label meh left out", client.get_run(result.run_id)
    version = client.get_model_version(result.model.name, str(result.model.version))
    lead = f"{result.measured.accuracy_ci_high:.2%}) on {on}"
    for told in (
        result.summary,
        run.data.tags["mlflow.note.content"],
        version.description,
        Path(client.download_artifacts(result.run_id, "report.html")).read_text(),
        "\n".join(_single(result)),
    ):
        assert lead in told
    assert run.data.tags["tested_on"] == version.tags["tested_on"] == on
    assert result.promotion is not None and f"Tested on {on}." in result.promotion.decision.notes
    client.set_registered_model_alias(version.name, "champion", version.version)
    champion = find_champion(own.settings, version.name)
    client.delete_registered_model_alias(version.name, "champion")
    assert champion is not None and champion.tested_on == on


def test_its_last_line_names_the_rejects_and_the_file_that_keeps_them(result: TrainingResult, own: World) -> None:
    """Red if a night's rejects stood in a log alone, or where the next night replaces them."""
    kept = own.settings.data_dir / "datasets" / "mine" / "rejects"
    (file,) = kept.iterdir()
    assert f"1 of 601 rows rejected (1 unknown label): {file}." in result.summary
    assert '"value": "perhaps"' in file.read_text()


def test_the_gate_refuses_it_and_says_what_helps(
    result: TrainingResult, own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result.promotion is not None and result.promotion.event is None
    failed = {rule.name for rule in result.promotion.decision.failures}
    assert failed >= {"baseline"} and "minimum accuracy" not in failed
    assert "docs/baselines.md" in result.promotion.way_out
    judged = evaluate_candidate(result.model.name, 1, own.settings.model_copy(update={"gate_baseline": False}))
    assert "baseline" not in {rule.name for rule in judged.decision.rules}
    assert "docs/baselines.md" not in judged.way_out


@pytest.mark.story
def test_seeds_are_compared_with_one_baseline_and_the_parent_has_the_registered_one_s(
    own: World, prefect_server: None, client: MlflowClient
) -> None:
    result = repeat(POOR, str(own.root / "mine.csv"), 5, 2, table=NEUTRAL)
    assert ", on 75% of the rows; label meh left out." in result.accuracy_line
    parent = client.get_run(result.run_id).data
    below = [client.get_run(each.run.run_id).data for each in result.seeds]
    assert len({run.metrics["baseline/loss"] for run in (parent, *below)}) == 1
    for run in below:
        gained = run.metrics["test/accuracy"] - run.metrics["baseline/accuracy"]
        assert run.metrics["baseline/difference"] == pytest.approx(gained)
    best = client.get_run(result.best.run.run_id).data.metrics
    assert parent.metrics["baseline/difference"] == best["baseline/difference"]
    assert result.baseline is not None and result.baseline.text in parent.tags["mlflow.note.content"]
    names = [each.name for each in tasks_of(parent.tags["prefect.flow_run_id"], 9)]
    assert names.count("baseline") == 1
