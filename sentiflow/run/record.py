"""A run as a record: its fields, and the selection and order of runs by them."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sentiflow.errors import UsageError
from sentiflow.names import dataset_name

# The tag of a run's kind, and its values.
KIND = "kind"
TRAINING = "training"  # one recipe, one seed
REPEATS = "repeats"  # the parent of several seeds
REPEAT = "repeat"  # a child of repeats
SWEEP = "sweep"  # the parent of a search
TRIAL = "trial"  # a child of a sweep
BASELINE_RUNS = "baselines"  # before 1.0: the parent of baselines
BASELINE_RUN = "baseline"  # before 1.0: a child of baselines
REPRODUCTION = "reproduction"  # another run's training again, to compare with it
MONITOR = "monitor"  # a check for drift; no training

# Tags of a run and its version: why the test accuracy says little, in sentences; of which rows it is, if not all.
CAVEAT, TESTED_ON = "caveat", "tested_on"
NEUTRAL, NEUTRAL_COUNTS = "neutral", "neutral.counts"  # what a third answer costs, and its confusion as JSON

DIGEST = "dataset.digest"  # tag of a run and of its version
PARENT_RUN = "mlflow.parentRunId"  # tag of a child run

TIME = "time."  # begins tags that hold the seconds of a stage, and of all: ``time.total``

# Tags of a run that has epochs. The second is absent if nothing chose the epoch: the last is kept then.
EPOCHS_TRAINED, BEST_EPOCH = "epochs_trained", "best_epoch"

LABEL_PARAMS = ("table.name_of_0", "table.name_of_1")  # of a run on a table of one's own

BUILD = "build"  # parameter: the function that built a model of the user's own
START_FROM = "start_from"  # parameter: ``none``, ``base`` or a version, such as ``reviews-sentiment/3``
# Tags of a run and of its version: the same; of what it started from the digest, the test accuracy on its own test
# split, and the share of the training words that it knows.
START_NAME, START_ACCURACY = "start.from", "start.accuracy"
START_DIGEST = "mlflow.sentiflow.start.digest"  # not shown by MLflow's pages
START_WORDS = "start.words"
START_NEW = "start.new"  # how many of the reviews to learn from the start has not learnt

# Metrics of each epoch, by the field of ``Epoch`` that they log.
EPOCH_METRICS = {
    "val_accuracy": "val/accuracy",  # first: MLflow's page that compares runs opens on the metric logged first
    "val_loss": "val/loss",
    "train_accuracy": "train/accuracy",
    "train_loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "seconds": "train/epoch_seconds",
    "reviews_per_second": "train/throughput",
}


def epoch_tags(trained: int, best: int | None) -> dict[str, str]:
    """Tags: how many epochs were trained, and which one early stopping chose."""
    return {EPOCHS_TRAINED: str(trained)} | ({} if best is None else {BEST_EPOCH: str(best)})


@dataclass(frozen=True)
class RunRecord:
    """A run: its status as MLflow writes it, the latest value of each metric, and MLflow's own tags with ours."""

    run_id: str
    name: str
    status: str
    started: datetime
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifact_uri: str

    @property
    def kind(self) -> str:
        return self.tags.get(KIND, TRAINING)

    @property
    def parent(self) -> str | None:
        return self.tags.get(PARENT_RUN)

    @property
    def recipe(self) -> str:
        return self.tags.get("recipe", "")

    @property
    def dataset(self) -> str:
        return self.tags.get("dataset", "")

    @property
    def label_names(self) -> tuple[str, str]:
        """What 0 and 1 are called in its dataset."""
        from sentiflow.scoring import LABEL_NAMES  # numpy, which a page of help does without

        zero, one = (self.params.get(param, name) for param, name in zip(LABEL_PARAMS, LABEL_NAMES, strict=True))
        return zero, one

    @property
    def short_name(self) -> str:
        return short_name(self.name, self.dataset)

    @property
    def trial(self) -> str:
        """Name of a trial in its sweep, such as ``trial 7``; empty for other runs."""
        number = self.tags.get("trial.number") if self.kind == TRIAL else None
        return "" if number is None else f"trial {number}"

    def seconds(self, stage: str) -> float | None:
        """Wall time of a stage, or of all (``total``); None if it is not logged."""
        return number(self.tags.get(f"{TIME}{stage}"))

    @property
    def epochs_trained(self) -> int | None:
        """Number of epochs; None before a training ends, and for a run without any."""
        return whole_number(self.tags.get(EPOCHS_TRAINED))

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights were kept: the one that early stopping chose, else the last."""
        chosen = whole_number(self.tags.get(BEST_EPOCH))
        return self.epochs_trained if chosen is None else chosen

    @property
    def digest(self) -> str | None:
        """Content digest of the dataset; None before it is prepared."""
        return self.tags.get(DIGEST)


def start_text(tags: Mapping[str, str], why: str = "") -> str:
    """What a training starts from, in a sentence's part; empty if from nothing."""
    words, accuracy, new = (number(tags.get(name)) for name in (START_WORDS, START_ACCURACY, START_NEW))
    if words is None:
        return ""
    tested = "" if accuracy is None else f"test accuracy {accuracy:.2%} on its own reviews"
    about = ", ".join(filter(None, (why, tested)))
    are = "is" if new == 1 else "are"
    more = "" if new is None else f"; {new:,.0f} of the reviews to learn from {are} new to it"
    named = f"from {tags.get(START_NAME, '')}{f' ({about})' if about else ''}"
    return f"{named}, which knows {words:.0%} of the training words{more}"


def short_name(name: str, dataset: str) -> str:
    """A run's name without its dataset, which stands before the seeds, and the moment at its end.

    Example:
        >>> short_name("small-imdb-imdb-seed0-261126-085713", "imdb")
        'small-imdb-seed0'
    """
    name = re.sub(r"-\d{6}-\d{6}$", "", name)
    return re.sub(rf"-{re.escape(dataset)}(?=-seeds?\d|$)", "", name)


def without_seeds(name: str) -> str:
    """A short name without the seed, or the seeds (``-seeds0to4``), at its end."""
    return re.sub(r"-seeds?\d+(to\d+)?$", "", name)


Value = str | float | None


def _seed(run: RunRecord) -> str | None:
    """The seed, or the range of seeds of a set of repeats."""
    seed = run.params.get("seed")
    first, repeats = whole_number(seed), whole_number(run.params.get("repeats"))
    return seed if first is None or repeats is None else f"{seed} to {first + repeats - 1}"


FIELDS: Mapping[str, Callable[[RunRecord], Value]] = {
    "id": lambda run: run.run_id,
    "name": lambda run: run.name,
    "kind": lambda run: run.kind,
    "status": lambda run: run.status,
    "started": lambda run: run.started.timestamp(),
    "recipe": lambda run: run.recipe or None,
    "dataset": lambda run: run.dataset or None,
    "seed": _seed,
    "accuracy": lambda run: _value(run.metrics.get("test/accuracy", run.metrics.get("test/accuracy_mean"))),
    "seconds": lambda run: run.seconds("total"),
}
"""Fields with a short name."""


def whole_number(text: str | None) -> int | None:
    """The text as a whole number of at most 18 digits; None for any other text."""
    return int(text) if text is not None and re.fullmatch(r"\d{1,18}", text) else None


def number(value: Value) -> float | None:
    """The value as a number; None for other text and NaN."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def _value(value: Value) -> Value:
    return None if isinstance(value, float) and math.isnan(value) else value


def value_text(value: Value) -> str:
    """A value for a table: numbers short, and nothing for what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, float):
        return str(value)
    whole = value.is_integer() or abs(value) >= 1_000
    return f"{value:,.0f}" if whole and abs(value) < 1e15 else f"{value:.4g}"


_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Query:
    """Conditions, all of which must hold; empty ones always do."""

    kinds: Sequence[str] = ()  # none are all but monitoring runs
    recipes: Sequence[str] = ()
    datasets: Sequence[str] = ()
    statuses: Sequence[str] = ()
    since: str = ""
    sort: str = ""  # one of ``FIELDS`` or a metric; with a minus before it, the highest comes first
    children: bool = False


def select(runs: Sequence[RunRecord], query: Query, now: datetime) -> list[RunRecord]:
    """The runs that meet a query, in its order, else in that given; ``now`` is that of ``moment``."""
    there, ids = {run.dataset for run in runs}, {run.run_id for run in runs}
    datasets = [dataset if dataset in there else dataset_name(dataset) for dataset in query.datasets]
    statuses = [status.upper() for status in query.statuses]
    since = moment(query.since, now) if query.since else None
    without_children = not query.children and not set(query.kinds) & {REPEAT, TRIAL, BASELINE_RUN}
    is_of_kinds = _of_kinds(runs, query)
    found = [
        run
        for run in runs
        if is_of_kinds(run)
        and not (without_children and run.parent in ids)  # a run whose parent was deleted is listed
        and (not query.recipes or run.recipe in query.recipes)
        and (not datasets or run.dataset in datasets)
        and (not statuses or run.status in statuses)
        and (since is None or run.started >= since)
    ]
    return _sorted(found, query.sort) if query.sort and runs else found  # of no runs no name is wrong


def _of_kinds(runs: Sequence[RunRecord], query: Query) -> Callable[[RunRecord], bool]:
    """Whether a run is of the kinds of the query, or, if children are included, below such a run."""
    if not query.kinds:
        return lambda run: run.kind != MONITOR
    listed = {run.run_id for run in runs if run.kind in query.kinds}
    while query.children and (below := {run.run_id for run in runs if run.parent in listed} - listed):
        listed |= below
    return lambda run: run.run_id in listed


def moment(text: str, now: datetime) -> datetime:
    """A date, a time or a span before ``now``, in whose time zone dates are, as a time in UTC."""
    try:
        if span := _SPAN.fullmatch(text.strip()):
            return now.astimezone(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
        given = datetime.fromisoformat(text.strip())
        return (given if given.tzinfo else given.replace(tzinfo=now.tzinfo)).astimezone(UTC)
    except (ValueError, OverflowError) as err:
        hint = "Expected a date (2026-03-05), a moment (2026-03-05T14:00) or a span before now (30m, 12h, 7d, 2w)."
        raise UsageError(f"--since {text!r} is not understood.", hint) from err


def _sorted(runs: Sequence[RunRecord], text: str) -> list[RunRecord]:
    """Sorted by a value, numbers before words; runs without it are always last."""
    down, name = text.startswith("-"), text.removeprefix("-")
    if name not in FIELDS and not any(name in run.metrics for run in runs):
        raise UsageError(f"No run has a metric {name!r}.", f"Sort by {', '.join(FIELDS)} or a metric: -test/loss")

    def get(run: RunRecord) -> Value:
        return FIELDS[name](run) if name in FIELDS else number(run.metrics.get(name))

    def place(run: RunRecord) -> tuple[bool, float, str]:
        amount = number(get(run))
        return (not down, 0.0, str(get(run))) if amount is None else (down, amount, "")

    there = sorted((run for run in runs if get(run) is not None), key=place, reverse=down)
    return there + [run for run in runs if get(run) is None]
