"""What runs tasks side by side: threads, processes of this machine, or a Dask cluster; a setting says which."""

import atexit
import logging
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Crashed
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from sentiflow.batch.dask import REACH_SECONDS, check_dask, dask_client, threads_of
from sentiflow.children import collect_less, end_with_parent, stop
from sentiflow.console import CONSOLE
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.operations.flow_runs import close_tasks
from sentiflow.redaction import redact
from sentiflow.run.record import PARENT_RUN
from sentiflow.scoring import cores
from sentiflow.settings import INSTALL_TEAM, Settings
from sentiflow.signals import listen_for_end
from sentiflow.store.client import RUNNING, OpenRun

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"\d+$")
_LIFE = 20  # calls of a process, on average: TensorFlow keeps some 20 MB of each training that it compiled


class Runner:
    """An open task runner of Prefect; after ``_LIFE`` calls for each process, ``begin`` makes others."""

    def __init__(self, begin: "Callable[[], TaskRunner[Any]]", max_calls: int) -> None:
        self._begin, self._max_calls = begin, max_calls
        self._runner, self._calls = begin(), 0

    def side_by_side(self, task: "Task[Any, Any]", calls: Iterable[dict[str, Any]]) -> Iterator[Any]:
        """Run a task for each set of arguments; gives results as they come, or the first failure."""
        pending: set[PrefectFuture[Any]] = set()
        try:
            for arguments in calls:
                if self._calls == _LIFE * self._max_calls and isinstance(self._runner, ProcessPoolTaskRunner):
                    while pending:
                        yield _one_of(pending).result()
                    self._runner, self._calls = self._begin(), 0
                self._calls += 1
                pending.add(self._runner.submit(task, arguments))
                if len(pending) >= self._max_calls:
                    yield _one_of(pending).result()
            while pending:
                yield _one_of(pending).result()
        except BrokenExecutor as err:
            hint = "What is finished is kept: run the same command again. If memory is short, use fewer --workers."
            raise ExternalError("A process that trained was killed, perhaps as memory was short.", hint) from err


@contextmanager
def running(run: OpenRun, workers: int, start: "Task[Any, Any]") -> Iterator[Runner]:
    """Keep the task runner of the settings open; its processes are ended when the block is left by an error.

    ``workers`` are threads or processes, or how many of Dask's workers are used at a time; each is prepared by the
    task ``start``, which nothing waits for. Processes that do not end in time are killed, and what they had open
    below the run is closed.
    """
    settings = run.settings
    started: list[PrefectFuture[Any]] = []  # as long as they may run: Dask ends a task that nothing refers to

    def begin() -> "TaskRunner[Any]":
        opened.close()
        # A terminal's Ctrl-C reaches processes that do not listen yet: it is for this one alone.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            runner = opened.enter_context(_task_runner(settings, workers))
            started[:] = [runner.submit(start, {}) for _ in range(workers)]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return runner

    with ExitStack() as opened:
        try:
            yield Runner(begin, workers)
        except BaseException:
            if _end_workers():  # else leaving waits until each has ended what it does
                _close_left(run)
            raise


def _close_left(run: OpenRun) -> None:
    """Close what killed processes left open below a run. A failure is logged: the next start closes the rest."""
    why, mine = "it did not end in time with its sweep", f"tags.`{PARENT_RUN}` = '{run.run_id}'"
    try:
        for child in run.client.search_runs([run.experiment], f"{RUNNING} and {mine}"):
            run.client.set_tag(child.info.run_id, "end", why)
            run.client.set_terminated(child.info.run_id, "KILLED")
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.read_flow_run(UUID(runtime.flow_run.id))
            close_tasks(prefect, flow_run, Crashed(message=f"{why[0].upper()}{why[1:]}."))
    except Exception as err:  # noqa: BLE001 - the error on its way matters more
        logger.warning("Could not close what killed processes left: %s", redact(first_line(err)))


def _end_workers() -> bool:
    """End the processes, and say whether there were any."""
    workers = multiprocessing.active_children()
    stop(workers)
    return bool(workers)


def _one_of(pending: "set[PrefectFuture[Any]]") -> "PrefectFuture[Any]":
    done = next(as_completed(list(pending)))
    pending.remove(done)
    return done


def workers_of(settings: Settings, wanted: int | None) -> int:
    """How many calls run side by side: as many as are wanted, else a core each, or all that Dask has."""
    if wanted is not None or settings.task_runner != "dask":
        return wanted or cores()
    with dask_client(settings) as client:
        return threads_of(client)


def check_runner(settings: Settings) -> None:
    if settings.task_runner != "dask":
        return
    check_dask(settings)
    try:
        import prefect_dask  # noqa: F401
    except ImportError as err:
        raise UsageError(f"The task runner dask needs prefect-dask: {err}.", INSTALL_TEAM) from err


def _task_runner(settings: Settings, workers: int) -> "TaskRunner[Any]":
    if settings.task_runner == "threads":
        return ThreadPoolTaskRunner(max_workers=workers)
    if settings.task_runner == "processes":
        # Prefect adds the whole environment to each call; what the first one finds is the same.
        return ProcessPoolTaskRunner(max_workers=workers, initializer=_begin_worker)
    dask_client(settings).close()  # a wrong address would be tried for long, and fail with a traceback
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(address=settings.dask_address, client_kwargs={"timeout": REACH_SECONDS})


def _begin_worker() -> None:
    """Prepare a process of the pool: it ends with its parent, takes one core, and leaves the terminal to it."""
    if parent := multiprocessing.parent_process():
        end_with_parent(parent.pid or 0, seconds=0)  # it would train on, or wait for work for ever
    collect_less()
    listen_for_end()
    # Its results are sent by then; to finalize TensorFlow would cost two seconds more.
    atexit.register(os._exit, 0)
    _take_a_core()
    CONSOLE.file = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    silent = logging.NullHandler()  # Prefect still gets every line, by way of the parent
    silent.setFormatter(logging.Formatter())  # a sign to Prefect that the root logger is somebody's
    logging.getLogger().handlers = [silent]


def _take_a_core() -> None:
    """Before TensorFlow counts the cores: threads of several workers would else wait for each other."""
    ours = sorted(os.sched_getaffinity(0))
    number = _NUMBER.search(multiprocessing.current_process().name)
    mine = os.getppid() + (int(number[0]) if number else 0)
    os.sched_setaffinity(0, {ours[mine % len(ours)]})
