import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sentiflow.batch.job import Workers
from sentiflow.errors import ExternalError
from sentiflow.scoring import TextScorer
from tests.polling import until
from tests.stack.processes import alive

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


def test_a_key_pressed_to_end_the_scoring_reaches_no_process_but_the_starter(scorer: TextScorer) -> None:
    """The terminal sends Ctrl-C to a whole group: each process would write a traceback of its own."""
    before = children()
    with Workers(scorer, 1):
        (pid,) = children() - before
        assert os.getpgid(pid) == os.getsid(pid) == pid


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


def test_processes_end_with_a_starter_that_is_killed() -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from sentiflow.batch.job import Workers\n"
        "from sentiflow.scoring import TextScorer, Vocabulary, Weights\n"
        "shapes = (8, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)\n"
        "scorer = TextScorer(Weights(*(np.zeros(s, np.float32) for s in shapes)), Vocabulary(['a']), 6)\n"
        "with Workers(scorer, 2) as pool:\n"
        "    [pool.score(['a'])() for _ in range(4)]\n"
        "    sys.stdout.write(Path(f'/proc/self/task/{os.getpid()}/children').read_text())\n"
        "    sys.stdout.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    until(lambda: not any(map(alive, pids)), "what it started to end", 10)


def test_a_module_of_the_same_name_in_the_current_folder_is_not_taken(
    scorer: TextScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "sentiflow", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    with Workers(scorer, 1) as pool:
        assert len(pool.score(TEXTS)()) == len(TEXTS)


def test_a_worker_loads_numpy_arrow_and_scoring_only() -> None:
    code = (
        "import sys\n"
        "from sentiflow.batch.worker import BulkScorer\nimport numpy as np\n"
        "from sentiflow.scoring import TextScorer, Vocabulary, Weights\n"
        "shapes = (8, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)\n"
        "scorer = TextScorer(Weights(*(np.zeros(s, np.float32) for s in shapes)), Vocabulary(['a']), 6)\n"
        "BulkScorer(scorer).score(['a b'])\n"
        "sys.stdout.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(loaded) & {"pandas", "pydantic", "rich", "filelock", "prefect", "mlflow"}
