"""What stands between a scoring and Dask, with a cluster in this process; test_dask.py scores on a real one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sentiflow.batch import dask
from sentiflow.batch.dask import DaskWorkers, check_dask, dask_client
from sentiflow.errors import ExternalError, UsageError
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings

if TYPE_CHECKING:
    from distributed import LocalCluster

TEXTS = ["good film", "bad plot", "", "é good \x00"]


@contextmanager
def cluster(workers: int) -> "Iterator[tuple[Settings, LocalCluster]]":
    """A scheduler with so many workers of one thread."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
        dashboard_address=None,
    ) as made:  # fmt: skip
        yield Settings(task_runner="dask", dask_address=made.scheduler_address), made


@pytest.fixture(scope="module")
def two() -> "Iterator[tuple[Settings, LocalCluster]]":
    with cluster(2) as made:
        yield made


def clients(made: "LocalCluster") -> set[str]:
    """Who is connected to the scheduler, besides itself."""
    return set(made.scheduler.clients) - {"fire-and-forget"}


def nobody_stays(made: "LocalCluster") -> bool:
    """Whether the scheduler hears from everybody who is connected that they go."""
    until = time.monotonic() + 10
    while clients(made) and time.monotonic() < until:
        time.sleep(0.01)
    return not clients(made)


@pytest.mark.parametrize(("wanted", "number"), [(None, 2), (1, 1), (2, 2), (9, 2)])
def test_as_many_chunks_are_scored_at_a_time_as_are_asked_for_and_the_cluster_has_threads(
    two: "tuple[Settings, LocalCluster]", scorer: TextScorer, wanted: int | None, number: int
) -> None:
    settings, made = two
    with DaskWorkers(settings, scorer, wanted) as pool:
        assert pool.number == number
        has = pool._client.who_has(pool._sent)
        assert [len(holders) for holders in has.values()] == [2]  # each worker, before its first texts
        np.testing.assert_array_equal(pool.score(TEXTS)(), scorer.score(TEXTS, threads=1))
        assert len(clients(made)) == 1
    assert nobody_stays(made)


def test_a_scheduler_that_no_worker_joins_is_told_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "REACH_SECONDS", 0.5)
    with cluster(0) as (settings, made):
        with pytest.raises(ExternalError, match="No Dask scheduler with a worker answers at tcp://127.0.0.1:"):
            dask_client(settings)
        assert nobody_stays(made)


@pytest.mark.parametrize("check", [check_dask, dask_client])
def test_dask_is_asked_for_only_with_an_address_and_a_certificate_where_it_needs_one(
    check: Callable[[Settings], object],
) -> None:
    with pytest.raises(UsageError, match="needs the address of its scheduler"):
        check(Settings(task_runner="dask"))
    with pytest.raises(UsageError, match="at tls://127.0.0.1:9 needs a certificate"):
        check(Settings(task_runner="dask", dask_address="tls://127.0.0.1:9"))
    check_dask(Settings(task_runner="dask", dask_address="tcp://127.0.0.1:9"))
