"""A sample of the logged texts for people to label: drawn at random, by strata of the version's confidence.

A sample is a file of the data folder that its owner alone may read. It keeps what a person who labels must not
see: no page, trace or export has a score or a stratum.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from sentiflow.data.division import text_id
from sentiflow.errors import ExternalError, UsageError, newer_format
from sentiflow.files import leftovers, own_folder, publish_private
from sentiflow.locks import file_lock, lock_file
from sentiflow.monitoring.log import TextLog
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store.records import Version

if TYPE_CHECKING:
    from sentiflow.store.review import Label  # MLflow, which a replay does without

CANNOT_TELL = "cannot tell"
STRATA = 5
_PATIENCE = 60.0  # seconds
_SUREST = 0.99  # counted as confidence: where the version is surer, it may be wrong all the same

Floats = NDArray[np.float64]


class Drawn(BaseModel):
    """A text of a sample."""

    id: str  # as ``text_id`` makes it
    text: str  # empty while it is being deleted
    stratum: int
    score: float
    trace: str = ""  # in MLflow


FORMAT = 1


class Sample(BaseModel):
    """A sample of the texts of a model, in a random order.

    Attributes:
        version: that was in use, and scored the texts.
        at: when the last text that it could draw was logged, UTC.
        last_id: of that text in the log.
        population: different texts of each stratum that it was drawn from; the least sure stratum is first.
        confidence: mean over the population of the share that the version gives to its own answers.
        told: what the last check said of its labels, and in ``dropped`` whether that was an alarm.
    """

    model: str
    number: int
    version: int
    names: tuple[str, str]
    at: str
    last_id: int
    population: list[int]
    confidence: float
    texts: list[Drawn]
    experiment: str = ""
    queue: str = ""
    told: str = ""
    dropped: bool = False
    tables: list[str] = []
    format: int = FORMAT
    sentiflow: str = ""  # which version wrote it

    @property
    def answers(self) -> tuple[str, ...]:
        """What people may say of a text."""
        return *self.names, CANNOT_TELL

    @property
    def title(self) -> str:
        """Its name, also of its question and queue in MLflow."""
        return f"{self.model} sample {self.number}"


@dataclass(frozen=True)
class Verdicts:
    """What the people who labelled a sample agree on.

    Attributes:
        labels: by trace, 0 or 1, of most of those who labelled it.
        disputed: traces of texts with different labels.
        unclear: traces of texts with as many for one label as for another, or that most could not tell.
        doubled: texts that more than one person labelled.
    """

    labels: dict[str, int]
    disputed: frozenset[str] = frozenset()
    unclear: frozenset[str] = frozenset()
    doubled: int = 0

    @property
    def unanimous(self) -> dict[str, int]:
        """The labels of texts that nobody labelled otherwise."""
        return {trace: label for trace, label in self.labels.items() if trace not in self.disputed}

    @property
    def texts(self) -> int:
        """Those that somebody said something of."""
        return len(self.labels) + len(self.unclear)


def verdicts(sample: Sample, given: "Iterable[Label]") -> Verdicts:
    """Count the labels of each text; a person counts once, and what the question does not offer never."""
    votes: dict[str, Counter[str]] = {}
    for label in given:
        if label.value in sample.answers:
            votes.setdefault(label.trace, Counter())[label.value] += 1
    agreed: dict[str, int] = {}
    for trace, counts in votes.items():
        (first, most), *others = counts.most_common(2)
        if first in sample.names and (not others or others[0][1] < most):
            agreed[trace] = sample.names.index(first)
    disputed = frozenset(trace for trace, counts in votes.items() if len(counts) > 1)
    doubled = sum(counts.total() > 1 for counts in votes.values())
    return Verdicts(agreed, disputed, frozenset(votes.keys() - agreed.keys()), doubled)


def samples(model: str, settings: Settings) -> list[Sample]:
    """The samples of a model, the oldest first.

    Raises:
        ExternalError: the file of one is damaged.
    """
    found = []
    for path in _folder(model, settings).glob("*.json"):
        try:
            content = json.loads(path.read_bytes())
            if (form := int(content.get("format", 1))) > FORMAT:
                raise newer_format(f"The sample {path}", form, content.get("sentiflow"), FORMAT)
            found.append(Sample.model_validate(content))
        except (ValueError, TypeError, AttributeError) as err:
            raise ExternalError(f"The sample {path} is damaged.", "Move that file away, or restore it.") from err
    return sorted(found, key=lambda sample: sample.number)


def sampled_models(settings: Settings) -> list[str]:
    return sorted(folder.name for folder in (settings.data_dir / "samples").glob("*") if folder.is_dir())


def keep(sample: Sample, settings: Settings) -> None:
    """Write a sample, or write it anew; what a killed process left of it goes, as it may hold a deleted text."""
    file = own_folder(_folder(sample.model, settings)) / f"{sample.number}.json"
    for left in leftovers(file):
        left.unlink()
    signed = sample.model_copy(update={"sentiflow": version("sentiflow")})
    publish_private(file, signed.model_dump_json(indent=1).encode())


@contextmanager
def alone(model: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of a model's samples, for seconds; others wait for it."""
    name, what = f"{model}.label", f"Another change of the samples of {model}"
    with file_lock(lock_file(name, settings), what, "sampling", patience=_PATIENCE):
        yield


def draw(
    log: TextLog, version: Version, scorer: TextScorer, size: int, before: Sequence[Sample],
    rng: np.random.Generator,
) -> Sample:  # fmt: skip
    """Draw from the texts that were logged since the last sample, each different one once.

    Where none came since, from earlier ones. None is drawn again, but others of its stratum stand for it, too:
    most were drawn where the version is least sure, and the rest alone would look too good.

    Raises:
        UsageError: none is left.
    """
    last, until = (before[-1].last_id, before[-1].at) if before else (0, "")
    taken = {drawn.id for sample in before for drawn in sample.texts}
    older: dict[str, str] = {}
    newer: dict[str, str] = {}
    at, last_id = until, last
    for batch in log.after(version.name, 0):  # ids begin again where the log was deleted
        for entry in batch:
            (newer if entry.id > last or entry.at > until else older)[text_id(entry.text)] = entry.text
        at, last_id = max(at, *(entry.at for entry in batch)), batch[-1].id
    texts = older | newer if taken.issuperset(newer) else newer
    if taken.issuperset(texts):
        told = f"{log.folder} has no text of {version.name} that was not drawn."
        raise UsageError(told, "sentiflow serve and score log their texts there.")
    names, everything = list(texts), list(texts.values())
    scores = scorer.score(everything)
    free = np.array([name not in taken for name in names])
    strata = _joined(divided(scores), free)
    rooms = [stratum[free[stratum]] for stratum in strata]
    counts = allocated([len(room) for room in rooms], size)
    chosen = [
        (number, place)
        for number, (room, count) in enumerate(zip(rooms, counts, strict=True))
        for place in rng.choice(room, count, replace=False).tolist()
    ]
    rng.shuffle(chosen)
    return Sample(
        model=version.name,
        number=before[-1].number + 1 if before else 1,
        version=version.number,
        names=scorer.label_names,
        at=at,
        last_id=last_id,
        population=[len(stratum) for stratum in strata],
        confidence=float(confidence(scores).mean()),
        texts=[
            Drawn(id=names[place], text=everything[place], stratum=number, score=float(scores[place]))
            for number, place in chosen
        ],
    )


def confidence(scores: Floats) -> Floats:
    """The share that a version gives to its own answers, from 0.5 to 1; of the same shape."""
    return np.maximum(scores, 1 - scores)


def divided(scores: Floats) -> list[NDArray[np.int64]]:
    """Places of the texts of each stratum, the least confident first.

    In each the standard deviations of the answers have the same sum, if the version is right as often as it is
    confident: to draw as many of each is then the best allocation (Neyman, 1934).
    """
    order = np.argsort(confidence(scores), kind="stable")
    sure = np.minimum(confidence(scores)[order], _SUREST)
    deviations = np.sqrt(sure * (1 - sure))
    middles = np.cumsum(deviations) - deviations / 2
    ends = np.searchsorted(middles, deviations.sum() * np.arange(1, STRATA) / STRATA)
    return [stratum for stratum in np.split(order, ends) if len(stratum)]


def _joined(strata: Sequence[NDArray[np.int64]], free: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Strata of which each has a text to draw: one without is joined to its neighbour."""
    found: list[NDArray[np.int64]] = []
    for stratum in strata:
        if found and not (free[stratum].any() and free[found[-1]].any()):
            found[-1] = np.concatenate([found[-1], stratum])
        else:
            found.append(stratum)
    return found


def allocated(rooms: Sequence[int], size: int) -> list[int]:
    """How many texts to draw of strata of these sizes: of each as many, or all that it has."""
    counts = [0] * len(rooms)
    for done, place in enumerate(sorted(range(len(rooms)), key=rooms.__getitem__)):
        counts[place] = min(rooms[place], (size - sum(counts)) // (len(rooms) - done))
    return counts


def _folder(model: str, settings: Settings) -> Path:
    return settings.data_dir / "samples" / model
