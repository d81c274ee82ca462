"""The faults of docs/reliability.md: each try breaks something on purpose, and raises when the promise is broken.

SEED is that of the first try, which decides the moments, the texts and the damage; TRIES, how many of each case.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import champion, damage, full, kills, labels, outages, tables, waits
from tests.faults.worlds import Worlds
from tests.world import World

Attempt = Callable[[Worlds, Path, int], None]
# With how many tries `make test-faults` has; none where it would take long.
CASES: dict[str, tuple[Attempt, int]] = {
    "F1": (kills.killed, 2),
    "F5": (champion.concurrent_changes, 1),
    "F11": (outages.outage, 1),
    "F16": (damage.prepared_reviews, 1),
    "F17": (damage.changed_table, 1),
    "F20": (labels.killed, 2),
    "F22": (waits.shut_out, 0),
    "F23": (tables.at_once, 1),
    "F25": (full.outage, 1),
}
SEED, TRIES = int(os.environ.get("SEED") or 0), int(os.environ.get("TRIES") or 0)


@pytest.mark.fault
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    ("attempt", "seed"),
    [
        pytest.param(attempt, seed, id=f"{name}-{seed}")
        for name, (attempt, tries) in CASES.items()
        for seed in range(SEED, SEED + (TRIES or tries))
    ],
)
def test_the_promise_holds(attempt: Attempt, seed: int, three_versions: World, tmp_path: Path) -> None:
    attempt(Worlds(three_versions), tmp_path, seed)
