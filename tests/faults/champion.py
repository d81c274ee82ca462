"""Concurrent changes of the champion."""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sentiflow.errors import BusyError, ExternalError, UsageError
from sentiflow.promotion import switch
from sentiflow.store.find import open_store
from tests.faults.worlds import NAME, Worlds, check_history, put_in_use
from tests.mlflow_store import events_of
from tests.world import Registry, World

PROCESSES, CHANGES = 8, 12
VERSIONS = (Registry.GOOD, Registry.POOR, Registry.NEWEST)


def concurrent_changes(worlds: Worlds, folder: Path, seed: int) -> None:
    """Eight processes promote and roll back; a reader looks at the champion a hundred times a second."""
    world = worlds.copy(folder)
    client = put_in_use(world, Registry.POOR)
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_change, world.root, seed * PROCESSES + k) for k in range(PROCESSES)]
        seen = _watch(world, lambda: all(job.done() for job in jobs))
        came = sum((job.result() for job in jobs), Counter())
    assert len(seen) > 100, f"the reader looked only {len(seen)} times"
    assert None not in seen, f"{seen.count(None)} of {len(seen)} looks found no champion"
    events = events_of(client, NAME)
    assert all(event.done for event in events), "an event is not marked as done"
    assert check_history(client) == len(events) == came["changes"], (len(events), came)
    order = iter([Registry.POOR, *(event.version for event in events)])
    for version in [one for one, before in zip(seen, [None, *seen], strict=False) if one != before]:
        assert version in order, f"a look found version {version} when the history had another"
    assert came["changes"] >= PROCESSES and came["lost races"], f"too little happened: {came}"


def _change(root: Path, seed: int) -> "Counter[str]":
    """Promote and roll back at random; counts what came of it."""
    settings, random_ = World(root).settings, random.Random(seed)
    came: Counter[str] = Counter({"changes": 0, "lost races": 0, "refused": 0})
    for _ in range(CHANGES):
        try:
            if random_.random() < 0.65:
                switch.promote(NAME, random_.choice(VERSIONS), settings, force=True, reason="a try")
            else:
                switch.rollback(NAME, "a try", settings)
            came["changes"] += 1
        except UsageError as err:
            assert "is the champion already" in str(err) or "no earlier champion" in str(err), err
            came["refused"] += 1
        except BusyError:
            came["refused"] += 1
        except ExternalError as err:
            assert "somebody else changed it meanwhile" in str(err), err
            came["lost races"] += 1
    return came


def _watch(world: World, over: Callable[[], bool]) -> list[int | None]:
    """What the champion is, a hundred times a second, until all is over."""
    store, seen, at = open_store(world.settings), [], time.monotonic()
    while not over():
        model = store.model(NAME)
        seen.append(None if model is None else model.champion)
        at = max(at + 0.01, time.monotonic())
        time.sleep(max(0.0, at - time.monotonic()))
    return seen
