"""The store: what its runs and versions are as records. Its modules write it by MLflow, and read it without."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from sentiflow.environment import here
from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import BASE, dataset_of, is_model_name
from sentiflow.redaction import redact
from sentiflow.run.record import DIGEST, RunRecord, number

CHAMPION = "champion"  # alias of the version in use
ACCURACY = "test.accuracy"  # tag of a version
VALIDATION_LOSS = "val.loss"  # tag of a version
SHA256 = re.compile("[0-9a-f]{64}")  # digest of a dataset: the name of its table
SCORER = "artifacts/scorer.json"  # of a version's files; what is scored by
NOTE = "mlflow.note.content"  # tag of a run that MLflow shows as its description
REPRODUCED = "reproduced"  # tag of a version: the outcome
REPRODUCED_DIGEST = "reproduced.digest"  # tag of a version: of which weights
HIDDEN = "mlflow.sentiflow."  # begins tags that MLflow's pages do not show
SCORER_DIGEST = f"{HIDDEN}scorer.digest"  # tag of a run and of its version, of all that their scores depend on
ATTEMPT = f"{HIDDEN}run_count"  # tag of a run: which attempt of its flow run, as Prefect counts them
QUOTED = f"{HIDDEN}quoted"  # tag of a drift check: ids of the texts that its report quotes
LOCK = f"{HIDDEN}lock"  # tag of a run: the lock that its process holds
# Names of tags from before 1.0, and from then on.
_RENAMED = {
    "scorer.digest": SCORER_DIGEST,
    "prefect.run_count": ATTEMPT,
    **{f"{what}.digest": f"{HIDDEN}{what}.digest" for what in ("code", "lock", "packages")},
}
MISSING = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # MLflow's codes for what is not there, by store

WANTS_LOGIN = "The server wants a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
UPGRADE = "Upgrade Sentiflow to that version, or go back to a model from before it: sentiflow rollback"
IS_IT_RUNNING = "Is the server running, and is SENTIFLOW_TRACKING_URI right?"
_HINTS = {
    401: WANTS_LOGIN,
    403: "This account may not do that: use another one, or ask the server's administrator.",
    413: "A proxy before the server limits the size of files: raise its limit (nginx: client_max_body_size).",
}


def hint_for(code: int) -> str:
    return _HINTS.get(code, IS_IT_RUNNING)


# MLflow's own 7 retries of 120 s would wait four minutes for a dead server.
HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@dataclass(frozen=True)
class Version:
    """A registered version that was chosen to answer, and why; ``BASE_MODEL``, which is none, has no number."""

    name: str
    number: int
    why: str

    def __str__(self) -> str:
        return f"{self.name} version {self.number}" if self.number else self.name


BASE_MODEL = Version(BASE, 0, "trained on IMDB film reviews, not on yours")

ANSWERS_NOW = f"What answers now is the model {BASE}, {BASE_MODEL.why}: add --dataset {BASE}."


@dataclass(frozen=True)
class VersionRecord:
    """A registered version as the store holds it; ``run_id`` is None when it was registered without a run."""

    number: int
    registered: datetime
    run_id: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model: versions by alias, and its tags."""

    aliases: Mapping[str, int]
    tags: Mapping[str, str]

    @property
    def champion(self) -> int | None:
        return self.aliases.get(CHAMPION)


class Store(Protocol):
    """Runs and models that were not deleted; every call raises ExternalError when they cannot be read."""

    def runs(self) -> list[RunRecord]:
        """All runs of the experiment of the settings, children and monitoring runs among them, newest first."""

    def newest(self, enough: Callable[[Sequence[RunRecord]], bool]) -> tuple[list[RunRecord], bool]:
        """The newest of them, as many as are enough, and whether these are all; quicker than ``runs``."""

    def called(self, name: str, beginning: str) -> list[RunRecord]:
        """Those with a name, or an id that begins so (unless empty), in the same order; quicker than ``runs``."""

    def record(self, run_id: str) -> RunRecord:
        """The run with this whole id, of any experiment; UsageError if there is none."""

    def children(self, run_id: str) -> list[RunRecord]:
        """The runs below a run, oldest first."""

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metrics logged per epoch (at steps from 1): step and value of each point, in the order of steps."""

    def file(self, record: RunRecord, name: str, folder: Path) -> Path | None:
        """Path of one of a run's files, in place or a copy in the folder; None if it has no such file."""

    def run_names(self, run_ids: list[str]) -> dict[str, str]:
        """Names of runs of any experiment, by id."""

    def models(self) -> list[str]:
        """All registered models, in alphabetical order."""

    def model(self, name: str) -> RegisteredModel | None:
        """A registered model, or None."""

    def versions(self, name: str) -> list[VersionRecord]:
        """The versions of a model, oldest first."""

    def version(self, name: str, number: int) -> VersionRecord | None:
        """A version, or None."""

    def versions_by_run(self) -> Mapping[str, str]:
        """Registered versions by the id of their run, like ``imdb-sentiment/3``; of several, the first."""

    def version_files(self, name: str, number: int, folder: Path) -> Path:
        """The folder of a version's files, in place, or a copy of what is needed to score in ``folder``."""


def renamed(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of a run or a version by the names that they have now, whichever version of Sentiflow wrote them."""
    return {_RENAMED.get(name, name): value for name, value in tags.items()}


def time_of(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def local_path(uri: str) -> Path | None:
    """The path that a URI names on this machine, or None if it names another place."""
    parts = urlparse(uri)
    if parts.scheme not in ("", "file"):
        return None
    return here() / unquote(parts.path if parts.scheme else uri)  # as MLflow reads it: a path may hold # and ?


def unreadable(what: str, uri: str) -> ExternalError:
    """The error for files in a place that only MLflow's client could read."""
    problem = f"{what} are at {redact(uri)}, which cannot be read from here."
    return ExternalError(problem, "Let the MLflow server hand them out: mlflow server --serve-artifacts.")


def need_ours(name: str, number: int, tags: Mapping[str, str], folder: Path) -> None:
    """Check that files that do not load are Sentiflow's."""
    if SCORER_DIGEST not in tags and not (folder / SCORER).is_file():
        problem = f"Version {number} of {name} was not made by Sentiflow: it has no {Path(SCORER).name}."
        raise UsageError(problem, f"See the others: sentiflow versions --dataset {dataset_of(name)}")


def of_newest_data(versions: Mapping[int, VersionRecord]) -> list[int]:
    """The versions of the newest one's data; one that no training registered does not say."""
    known = [number for number, version in versions.items() if DIGEST in version.tags]
    data = versions[max(known)].tags[DIGEST] if known else None
    return [number for number, version in versions.items() if version.tags.get(DIGEST) == data]


def best_by_validation(versions: Mapping[int, VersionRecord], among: Sequence[int]) -> tuple[int, float]:
    """The version of the lowest validation loss, the newest of equals; infinite where none says it."""
    losses = {each: number(versions[each].tags.get(VALIDATION_LOSS)) for each in among}
    known = {each: math.inf if loss is None else loss for each, loss in losses.items()}
    best = min(among, key=lambda each: (known[each], -each))
    return best, known[best]


def first_choice(versions: Mapping[int, VersionRecord]) -> tuple[int, str]:
    """The version that answers before any is in use, and why; one that a person declined comes last."""
    left = of_newest_data(versions)
    left = [each for each in left if "decline.by" not in versions[each].tags] or left
    best, loss = best_by_validation(versions, left)
    why = "newest" if len(left) == 1 or math.isinf(loss) else f"lowest validation loss of {len(left)}"
    return best, f"{why}, no champion yet"


def choose_name(names: list[str], name: str | None, tracking_uri: str) -> str:
    """The registered model that is meant: the one named, else ``imdb-sentiment``, else the only one."""
    names = [each for each in names if is_model_name(each)]  # no other project's
    wanted = name or "imdb-sentiment"
    if wanted in names:
        return wanted
    if name is None and len(names) == 1:
        return names[0]
    if not names:
        told = f"No model is registered yet in {redact(tracking_uri)}."
        raise UsageError(told, f"Train one first: sentiflow train\n{ANSWERS_NOW}")
    problem = f"No model is registered as {wanted}; there are: {', '.join(names)}."
    raise UsageError(problem, f"Choose one, for example: --dataset {dataset_of(names[0])}")


def no_run(run_id: str, tracking_uri: str) -> UsageError:
    problem = f"There is no run {run_id} in {redact(tracking_uri)}."
    return UsageError(problem, "See what there is: sentiflow runs. A deleted one can be restored in MLflow.")


def compared_with(champion: int | None) -> str:
    """What a candidate was compared with; value of the version's tag ``gate.against``."""
    return "no champion" if champion is None else f"version {champion}"


def gate_text(tags: Mapping[str, str]) -> str:
    """What the gate or a person said of a version: ``passed, no champion`` or ``refused against v4``."""
    outcome, champion = tags.get("gate.outcome", "-"), tags.get("gate.against")
    if champion in (None, compared_with(None)):
        return outcome if champion is None else f"{outcome}, {champion}"
    return f"{outcome} against {champion.replace('version ', 'v')}"


def need_number(numbers: Collection[int], name: str, number: int) -> int:
    if number not in numbers:
        see = f"See what there is: sentiflow versions --dataset {dataset_of(name)}"
        raise UsageError(f"{name} has no version {number}.", see)
    return number


def parse_fraction(text: str | None) -> float | None:
    """A tag's number from 0 to 1; None for anything else that somebody may have written there."""
    value = number(text)
    return value if value is not None and 0 <= value <= 1 else None
