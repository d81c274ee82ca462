"""The library for Python and notebooks, as ``import sentiflow as sf``: no server and no Prefect."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sentiflow.console import progress_bar
from sentiflow.environment import send_no_usage_data
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Baseline
from sentiflow.names import AUTO, BASE, NONE, dataset_name, is_model_name, model_name
from sentiflow.reports.blocks import Report, explanation_page, framed
from sentiflow.run.record import CAVEAT, EPOCH_METRICS, FIELDS, NEUTRAL
from sentiflow.scoring import TextScorer
from sentiflow.settings import load_settings
from sentiflow.store.find import find_runs, find_version, load_scorer, need_explained, need_neutral, open_store
from sentiflow.store.records import BASE_MODEL, Version

if TYPE_CHECKING:  # MLflow, which is imported once it is set that it sends no usage data
    from sentiflow.promotion.candidate import Candidate
    from sentiflow.training.context import Build


@dataclass(frozen=True)
class Run:
    """A training that made a version, as its run in MLflow has it."""

    run_id: str
    name: str
    version: str
    """Such as reviews-sentiment/3."""
    accuracy: float
    interval: tuple[float, float]
    """95% of the test accuracy."""
    baseline: float | None
    """Test accuracy of a simple model of words; only a table of one's own has one."""
    history: pd.DataFrame = field(repr=False, compare=False)
    """A row an epoch."""
    notes: tuple[str, ...] = ()
    """Why the accuracy says little, and whether it is better than the baseline."""

    def _repr_html_(self) -> str:
        low, high = self.interval
        shown = {"test accuracy": f"{self.accuracy:.2%} (95% interval {low:.2%} to {high:.2%})"}
        shown |= {} if self.baseline is None else {"baseline": f"{self.baseline:.2%}"}
        shown |= {"version": self.version, "run": self.name, "": " ".join(self.notes)}
        return pd.Series(shown).to_frame().to_html(header=False)


@dataclass(frozen=True)
class Explanation:
    """A text's label and score, and what each word did to the score; in a notebook its words in colours."""

    label: str
    score: float
    words: pd.DataFrame
    page: str = field(repr=False)

    def _repr_html_(self) -> str:
        return framed(self.page)


class Model:
    """A registered version, or the packaged base, that labels texts."""

    def __init__(self, version: Version, scorer: TextScorer) -> None:
        self.name = f"{version.name}/{version.number}" if version.number else version.name
        self.labels = scorer.label_names
        self._scorer = scorer

    def __repr__(self) -> str:
        return f"Model({self.name!r}, labels={self.labels})"

    def predict(self, texts: str | Iterable[str], *, with_neutral: bool = False) -> pd.DataFrame:
        """The label of each text, and its score: the probability of the label that means 1.

        With ``with_neutral`` unsure ones are called neutral; a UsageError for a model that learnt no limits of it.
        """
        if with_neutral:
            need_neutral(self._scorer, self.name)
        index = texts.index if isinstance(texts, pd.Series) else None
        scores = self._scorer.score([texts] if isinstance(texts, str) else list(texts))
        labels = [self._scorer.label_of(score, with_neutral=with_neutral) for score in scores.tolist()]
        return pd.DataFrame({"label": labels, "score": scores}, index)

    def explain(self, text: str) -> Explanation:
        """The score word by word; a UsageError for a model of one's own."""
        need_explained(self._scorer, self.name)
        found = self._scorer.explain(text)
        words, page = pd.DataFrame(map(vars, found.words)), explanation_page(found, self._scorer, self.name)
        return Explanation(self._scorer.label_of(found.score), found.score, words, page)


def train(
    dataset: str | Path,
    *,
    recipe: str | None = None,
    build: "Build | None" = None,
    seed: int = 0,
    start_from: str = AUTO,
    force: bool = False,
    **fields: Any,
) -> Run:
    """Train a recipe on a dataset, evaluate it and register the model, as ``sentiflow train`` does.

    An equal version that is registered is not trained again; its run is given.

    Args:
        dataset: imdb, sample, or the path of a table or of a folder of them.
        recipe: A name or a TOML file; by default that of the dataset.
        build: A model of your own in place of a recipe's network: a function of vocabulary size and length that
            returns a Keras model, not compiled, of int32 ids (n, length), padded in front with 0, to
            probabilities (n, 1). Keras's own ``fit`` trains it, slower than a recipe's.
        seed: Of the first weights and of the order of reviews.
        start_from: What the training starts from: auto, none, base, or a version.
        force: Train even if an equal version is registered.
        fields: Fields of the recipe, such as epochs=3, and of how a table is read, such as label_column="rating".
    """
    _begin()
    from sentiflow.data.prepare import check_data
    from sentiflow.data.table import TableOptions, as_options
    from sentiflow.pipeline import training
    from sentiflow.training.context import Started
    from sentiflow.training.open_run import planned_name
    from sentiflow.training.recipes import check_seeds, default_recipe, load_recipe, own_recipe

    read = {name: fields.pop(name) for name in TableOptions.model_fields.keys() & fields}
    name, table = str(dataset), as_options(read, "The options of the table")
    check_seeds(seed, 1)
    moment = f"{datetime.now(UTC):%y%m%d-%H%M%S}"
    if build is not None:
        _check_build(build, recipe, start_from)
        config, start_from = own_recipe(build.__name__, name, fields), NONE
        called = f"{config.recipe}-{dataset_name(name)}-seed{seed}-{moment}"
    else:
        config = load_recipe(recipe or default_recipe(name), [f"{key}={value}" for key, value in fields.items()])
        called = planned_name({"config": config, "dataset": name, "seed": seed}, moment)
    check_data(name, load_settings(), table, progress_bar)
    result = training.train(Started(called), config, name, seed, table, start_from, force=force, build=build)
    return _run(f"{result.model.name}/{result.model.version}" if result.model else "")


def _check_build(build: "Build", recipe: str | None, start_from: str) -> None:
    if not callable(build) or not hasattr(build, "__name__"):
        raise UsageError(f"build must be a function, got {type(build).__name__}.", "For example: examples/gru.py")
    if recipe is not None or start_from not in (AUTO, NONE):
        problem = "A model that a function builds has no recipe, and starts from nothing."
        raise UsageError(problem, "Leave recipe= and start_from= out.")


def load(name: str) -> Model:
    """The model of a version (``reviews@champion``, ``reviews/3``), of a dataset (its champion), or the base."""
    settings = load_settings()
    if name == BASE:
        return Model(BASE_MODEL, load_scorer(settings, BASE_MODEL))
    if re.search("[@/]", name):
        model, number = _version(name)
        version = Version(model, number, "asked for")
    else:
        version = find_version(settings, model_name(name), None)
    return Model(version, load_scorer(settings, version))


def runs() -> pd.DataFrame:
    """All runs, newest first."""
    store = open_store(load_settings())
    made = store.versions_by_run()
    rows: list[dict[str, object]] = [
        {name: get(one) for name, get in FIELDS.items()}
        | {"started": one.started, "version": made.get(one.run_id)}
        for one in store.runs()
    ]
    return pd.DataFrame(rows, columns=[*FIELDS, "version"])


def compare(first: str | Run, *others: str | Run) -> Report:
    """Runs or versions held against the first one, or the report of one alone; it shows itself in a notebook."""
    from sentiflow.reports.several_runs import report_of
    from sentiflow.reports.summary import load_summaries

    store = open_store(settings := load_settings())
    found = find_runs(store, [_named(each) for each in (first, *others)])
    return report_of(found, load_summaries(store, found, settings))


def promote(run: str | Run, *, reason: str = "", force: bool = False) -> "Candidate":
    """Make the version of a run the champion if all checks of the gate pass; gives what they said.

    Where a person approves promotions, the version waits for an answer instead.
    """
    _begin()
    from sentiflow.promotion import switch

    name, number = _version(run)
    return switch.promote(name, number, load_settings(), force=force, reason=reason)


def _begin() -> None:
    """Set up this process before TensorFlow and MLflow are imported, as a command is."""
    send_no_usage_data()
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # a line for each model that is loaded


def _named(what: str | Run) -> str:
    """As the store names a run or version, whose dataset stands for its model."""
    if isinstance(what, Run):
        return what.run_id
    found = re.fullmatch(r"([a-z0-9-]+)([@/].+)", what)
    return what if found is None or is_model_name(found[1]) else f"{model_name(found[1])}{found[2]}"


def _version(what: str | Run) -> tuple[str, int]:
    from sentiflow.training.start_from import version_meant

    name, version = version_meant(open_store(load_settings()), _named(what))
    return name, version.number


def _run(version: str) -> Run:
    store = open_store(load_settings())
    (record,) = find_runs(store, [version])
    metrics, baseline = record.metrics, Baseline.logged(record.metrics)
    points = store.history(record.run_id)
    columns = {name: dict(points.get(metric, ())) for name, metric in EPOCH_METRICS.items()}
    history = pd.DataFrame(columns).rename_axis("epoch").iloc[: record.epochs_trained]
    interval = metrics["test/accuracy_ci_low"], metrics["test/accuracy_ci_high"]
    notes = [record.tags.get(CAVEAT, ""), "" if baseline is None else f"{baseline.text}."]
    notes += [f"{record.tags[NEUTRAL]}."] if NEUTRAL in record.tags else []
    return Run(
        record.run_id, record.name, version, metrics["test/accuracy"], interval,
        None if baseline is None else baseline.accuracy, history, tuple(filter(None, notes)),
    )  # fmt: skip
