"""Tasks of trainings: the steps of ``sentiflow.pipeline``, as Prefect runs and shows them."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task

from sentiflow.pipeline import register as registering
from sentiflow.pipeline import steps
from sentiflow.pipeline import summarize as summarizing
from sentiflow.pipeline.training import Steps

P = ParamSpec("P")
R = TypeVar("R")


def _task(function: Callable[P, R], name: str = "") -> Task[P, R]:
    name = name or function.__name__
    return Task(function, name=name, task_run_name=name, persist_result=False)


fetch = _task(steps.fetch)
prepare = _task(steps.prepare)
prepare_again = _task(steps.prepare_again, "prepare")
fit = _task(steps.fit)
fit_baseline = _task(steps.fit_baseline, "baseline")
train = _task(steps.train)
evaluate = _task(steps.evaluate)
register = _task(registering.register)
summarize = _task(summarizing.summarize)
TRAINING = Steps(fetch, prepare, fit, fit_baseline, train, evaluate, register, summarize)

check_original = _task(steps.check_original, "check")
summarize_repeats = _task(summarizing.summarize_repeats, "summarize")
summarize_sweep = _task(summarizing.summarize_sweep, "summarize")
summarize_reproduction = _task(summarizing.summarize_reproduction, "compare")
