"""What started a training, and what its steps pass to each other: ids, paths and metrics; a run's dataset.

Of a table of one's own a run also keeps which texts it has learnt from.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Param, Run, RunTag
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import Array, DataType

from sentiflow import names
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.data.rows import share_kept
from sentiflow.evaluation.scores import Epoch, ScoreTable
from sentiflow.names import BUILT_IN
from sentiflow.run.record import DIGEST, LABEL_PARAMS, TESTED_ON
from sentiflow.scoring import NGrams, OwnNetwork, TextScorer, Weights
from sentiflow.store.client import OpenRun
from sentiflow.store.find import open_store, score_table
from sentiflow.training.recipes import OWN_FIELDS, TrainConfig
from sentiflow.training.start_from import Start

Build = Callable[[int, int], Any]
"""Of the sizes of vocabulary and sequence: a Keras model of ids (n, length) to one probability (n, 1)."""


@dataclass(frozen=True)
class Started:
    """A start by a call of a function; ``operations.job`` has that of a flow run of Prefect's."""

    name: str
    source: str = "sentiflow.train"
    by: str = "by hand"
    patience: float = 0.0
    """Seconds to wait for another training of the model; a person's fails at once."""

    def tags(self) -> dict[str, str]:
        """Further tags of a run."""
        return {}

    def publish(self, text: str, url: str, key: str, about: str) -> None:
        """Show what came of it, and where it is in MLflow, on a page of what started it."""

    def crash(self, run: Run, why: str) -> None:
        """Mark what another run, whose process was killed, was part of as crashed."""


@dataclass(frozen=True)
class RunContext(OpenRun):
    """The open run of a training, a baseline or a set of them."""

    started: Started = field(repr=False)
    config: TrainConfig  # once the table is prepared, with the values that its rules chose
    dataset: str  # as the user named it, a table by its whole path
    seed: int
    work: Path = field(repr=False)  # for files of this run, deleted when the run ends
    began: float = field(repr=False)  # start of the process, in a shared one of the flow: seconds since the epoch
    start: Start = Start()
    parent: "RunContext | None" = field(default=None, repr=False)
    build: Build | None = field(default=None, repr=False)  # a user's own function, in place of the network

    @property
    def dataset_name(self) -> str:
        return names.dataset_name(self.dataset)

    @property
    def model_name(self) -> str:
        return names.model_name(self.dataset)

    def fields(self) -> dict[str, Any]:
        """The fields of the recipe that hold for the run."""
        every = self.config.model_dump()
        own = ("recipe", "fit_to_table", *OWN_FIELDS)
        return every if self.build is None else {name: every[name] for name in own}

    @property
    def seconds(self) -> float:
        return time.time() - self.began

    def scores(self) -> ScoreTable:
        table = score_table(open_store(self.settings), self.record(), self.work)
        if table is None:
            raise ValueError(f"the run {self.run_id} holds no test scores")
        return table


@dataclass(frozen=True)
class TrainedFiles:
    """A training's files in the run's work folder, and the epoch of their weights."""

    keras: Path = field(repr=False)
    weights: Path | None = field(repr=False)  # of the stock network
    ngrams: Path | None = field(repr=False)  # beside it
    history: tuple[Epoch, ...]
    kept: Epoch
    neutral: tuple[float, float] | None = None  # limits of that as a third answer


_DIGEST_LENGTH = 36  # MLflow's column holds no more; the whole digest is in the run's tags

_COLUMNS: dict[str, Any] = {
    "review_id": "string", "split": "string", "label": "integer", "token_ids": Array(DataType.integer),
    "n_tokens": "integer", "place": "string", "text": "string",
}  # fmt: skip
_SCHEMA = Schema([ColSpec(kind, name) for name, kind in _COLUMNS.items()])


def log_dataset(run: OpenRun, prepared: Prepared) -> None:
    """Log which dataset a run uses: its digest, its splits as inputs, and how a user's table was read."""
    params, tags = {DIGEST: prepared.digest}, {DIGEST: prepared.digest}
    if prepared.name not in BUILT_IN:
        rejected = sum(prepared.rejected.reasons.values()) if prepared.rejected else 0
        left_out = sum(prepared.left_out.values())
        read = {**prepared.options.model_dump(), "rejected": rejected, "left_out": left_out}
        if prepared.joined is not None:
            joined = prepared.joined
            relabelled = sum(joined.relabelled.values())
            read |= {"tables": joined.tables, "repeated": joined.repeated, "relabelled": relabelled}
        params |= {f"table.{name}": str(value) for name, value in read.items()}
        params |= zip(LABEL_PARAMS, reviews.read(prepared.table).label_names, strict=True)
        tags |= {TESTED_ON: rows} if (rows := tested_on(prepared)) else {}
    run.write(params=[Param(*each) for each in params.items()], tags=[RunTag(*each) for each in tags.items()])
    with run.errors():
        run.client.log_inputs(run.run_id, datasets=_inputs(prepared))


def tested_on(prepared: Prepared) -> str:
    """Of which rows of a user's tables an accuracy is, where --labels leaves some out; else empty."""
    repeated = prepared.joined.repeated if prepared.joined else 0
    return share_kept(len(reviews.read(prepared.table)) + repeated, prepared.left_out)


def content_of(prepared: Prepared) -> str:
    """What came of a user's tables, for people: ``2,297 texts of 2 tables, 433 of them to test``."""
    content = reviews.read(prepared.table)
    tables = prepared.joined.tables if prepared.joined else 1
    test, both = int((content.split == "test").sum()), reviews.in_both_splits(content)
    of = f"{len(content):,} texts of {tables:,} {'table' if tables == 1 else 'tables'}"
    return f"{of}, {test:,} of them to test{f' ({both:,} stand in the training split, too)' if both else ''}"


def dataset_key(prepared: Prepared, split: str) -> tuple[str, str]:
    """Name and digest of a split, as MLflow has them."""
    return f"{prepared.name}-{split}", prepared.digest[:_DIGEST_LENGTH]


def scorer_of(run: RunContext, prepared: Prepared, trained: TrainedFiles) -> TextScorer:
    """What scores with the weights that a training left: the scorer that a version of it holds."""
    words, names = reviews.read_vocabulary(prepared.table), reviews.read(prepared.table).label_names
    weights = (
        OwnNetwork(trained.keras.read_bytes(), run.config.vocabulary_size)
        if trained.weights is None
        else Weights.load(trained.weights)
    )
    ngrams = None if trained.ngrams is None else NGrams.load(trained.ngrams)
    return TextScorer(weights, words, run.config.sequence_length, names, ngrams=ngrams, neutral=trained.neutral)


def _inputs(prepared: Prepared) -> list[DatasetInput]:
    content = reviews.read(prepared.table)
    contexts = {"train": "training", "validation": "validation", "test": "testing"}
    inputs = []
    for split, context in contexts.items():  # in this order: MLflow's table names the first of a run
        labels = content.label[content.split == split]
        if not len(labels):
            continue
        counts = {name: int((labels == label).sum()) for label, name in enumerate(content.label_names)}
        profile = {"split": split, "reviews": len(labels), "labels": counts}
        name, digest = dataset_key(prepared, split)
        source = json.dumps({"uri": prepared.table.as_uri(), "origin": prepared.origin})
        schema = json.dumps({"mlflow_colspec": _SCHEMA.to_dict()})
        made = Dataset(name, digest, "local", source, schema, json.dumps(profile))
        inputs.append(DatasetInput(made, [InputTag("mlflow.data.context", context)]))
    return inputs
