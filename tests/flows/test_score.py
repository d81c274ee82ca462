import logging
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from flows.score import score
from sentiflow.errors import UsageError
from tests.world import Trained


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "in.csv"
    made.write_text("id,text\n1,The acting was dull.\n2,\n3,The direction was touching.\n")
    return made


@pytest.fixture(autouse=True)
def _in_its_world(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in trained.world.variables.items():
        monkeypatch.setenv(name, value)


def test_the_flow_scores_logs_its_counts_and_leaves_a_summary(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = path.parent / "out.jsonl"
    with caplog.at_level(logging.INFO):
        done = score(path, output, keep=["id"])
    assert output.exists() and done.totals.rejects == path.parent / "out.jsonl.rejects.jsonl"
    assert (done.totals.rows, done.totals.scored, done.totals.reasons) == (3, 2, {"no text": 1})
    logged = [record.getMessage() for record in caplog.records]
    assert "2 scored, 1 rejected, 3 rows in all" in logged
    assert any(line.startswith("Scored by sample-sentiment version 1 (") for line in logged)
    with get_client(sync_client=True) as client:
        newest = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
        (artifact,) = (each for each in newest if str(output) in str(each.data))
        run = client.read_flow_run(artifact.flow_run_id)
    assert "- 2 scored, 1 rejected, 3 rows in all\n" in artifact.data and "(1 no text)" in artifact.data
    assert run.name.startswith("in.csv-")


def test_the_flow_compares_a_labelled_table_with_the_scores(path: Path) -> None:
    done = score(path, path.parent / "out.csv", label_column="id", labels={"1": 0, "3": "skip"})
    assert done.evaluation is not None and done.evaluation.left_out == {"3": 1}
    assert "rows in all. Accuracy " in done.summary
    with pytest.raises(UsageError, match="no column label"):
        score(path, path.parent / "out.csv", labels={"neutral": "skip"})
    with pytest.raises(UsageError, match="differ in more than case"):
        score(path, path.parent / "out.csv", label_column="id", labels={"a": 1, "A": 0})
