import os
import signal
from pathlib import Path

import numpy as np
import pytest

from sentiflow.batch.job import Workers
from sentiflow.errors import ExternalError
from sentiflow.scoring import TextScorer

TEXTS = ["good film", "bad plot", "", "é good \x00", "good " * 1_000]


def children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def test_several_processes_score_as_one_does_and_are_gone_afterwards(scorer: TextScorer) -> None:
    before = children()
    with Workers(scorer, 3) as pool:
        found = [pool.score(TEXTS[k:]) for k in range(len(TEXTS) + 1)]
        for k, wait in enumerate(found):
            np.testing.assert_array_equal(wait(), scorer.score(TEXTS[k:], threads=1))
        assert len(children() - before) == 3
    assert children() <= before
    assert [worker._connection.closed for worker in pool._all] == [True] * 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_process_that_is_killed_is_told_and_the_others_end(scorer: TextScorer, number: int) -> None:
    before = children()
    with (
        pytest.raises(ExternalError, match=f"A scoring process ended by signal {number:d}[.]"),
        Workers(scorer, 2) as pool,
    ):
        pool.score(TEXTS)()
        for pid in children() - before:
            os.kill(pid, number)
        pool.score(TEXTS)()
    assert children() <= before


def test_a_module_of_the_same_name_in_the_current_folder_is_not_taken(
    scorer: TextScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "sentiflow", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    with Workers(scorer, 1) as pool:
        assert len(pool.score(TEXTS)()) == len(TEXTS)
