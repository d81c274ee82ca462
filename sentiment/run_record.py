"""What is known of a run of the tracking store, whoever read it there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

# The tag that says what a run is, and its values.
KIND = "kind"
TRAINING = "training"  # one recipe, one seed
REPEATS = "repeats"  # the parent of a set of seeds
SEED = "seed"  # one of them
SWEEP = "sweep"  # the parent of a search
TRIAL = "trial"  # one try of it
BASELINES = "baselines"  # the parent of baselines
BASELINE = "baseline"  # one of them
MONITOR = "monitor"  # a look for drift; no training


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        run_id: of MLflow, 32 hexadecimal digits.
        name: of the run.
        status: RUNNING, FINISHED, FAILED or KILLED, as MLflow says.
        started: with a time zone.
        params: as logged, all text.
        metrics: the latest value of each.
        tags: MLflow's own (``mlflow.``) among them.
        artifact_uri: where its files are.
    """

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
        """What the run is; runs older than the tag are told by what they hold."""
        if KIND in self.tags:
            return self.tags[KIND]
        if self.parent is not None:
            return SEED
        return REPEATS if "repeats" in self.params else TRAINING

    @property
    def parent(self) -> str | None:
        """Id of the run that this is a part of."""
        return self.tags.get("mlflow.parentRunId")

    @property
    def recipe(self) -> str:
        """Name of the recipe, or of what stands in its place; empty if the run does not say."""
        return self.tags.get("recipe", "")

    @property
    def dataset(self) -> str:
        """Name of the dataset; empty if the run does not say."""
        return self.tags.get("dataset", "")

    @property
    def trial(self) -> str:
        """What its sweep calls a trial, such as ``trial 7``; empty for other runs."""
        number = self.tags.get("trial.number") if self.kind == TRIAL else None
        return "" if number is None else f"trial {number}"

    @property
    def digest(self) -> str | None:
        """Content digest of the dataset; None before it was prepared."""
        return self.tags.get("dataset.digest")


def called(runs: Sequence[tuple[str, str]], name: str, beginning: str) -> list[tuple[str, str]]:
    """Those with a name, or an id that begins so.

    Args:
        runs: id and name of each.
        name: of a run.
        beginning: of an id, in small letters; empty if only names are meant.
    """
    return [run for run in runs if run[1] == name or (beginning and run[0].startswith(beginning))]
