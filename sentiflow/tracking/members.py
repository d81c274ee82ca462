"""The runs that a parent stands for when runs are compared."""

from sentiflow.errors import UsageError
from sentiflow.runs.record import BASELINES, MONITOR, REPEATS, SEED, SWEEP, TRIAL, RunRecord
from sentiflow.tracking.store import RunStore

PARENTS = (REPEATS, SWEEP, BASELINES)


def members(store: RunStore, record: RunRecord) -> list[RunRecord]:
    """The run itself, or the finished runs below a parent: trainings of a recipe first, a sweep's trials last.

    Raises:
        UsageError: there is none, or the run trained nothing.
    """
    if record.kind == MONITOR:
        raise UsageError(
            f"{record.name} is a look for drift, and trained nothing.", "Its report is its artifact report.html."
        )
    if record.kind not in PARENTS:
        return [record]
    below = [run for run in store.children(record.run_id) if run.status == "FINISHED"]
    if not below:
        raise UsageError(
            f"{record.name} has no finished runs below it (it is {record.status}).", "Name runs: sentiflow runs"
        )
    return sorted(below, key=lambda run: (run.kind == TRIAL, "recipe" not in run.params, _seed(run)))


def _seed(run: RunRecord) -> int:
    """Seeds that ran side by side began in any order."""
    seed = run.params.get("seed", "")
    return int(seed) if run.kind == SEED and seed.isdecimal() else 0
