"""What a training starts from: a registered version, the packaged base, or nothing."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sentiflow.base import model as base
from sentiflow.data.division import Hashes, known
from sentiflow.data.reviews import Reviews
from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import AUTO, BASE, BUILT_IN, IMDB, NONE, dataset_of, model_name
from sentiflow.run.record import (
    START_ACCURACY,
    START_DIGEST,
    START_FROM,
    START_NAME,
    START_NEW,
    START_WORDS,
    RunRecord,
    number,
    start_text,
)
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.scoring.vocabulary import FIRST_WORD, OUT_OF_VOCABULARY
from sentiflow.settings import Settings
from sentiflow.store.find import champion_of, find_run, load_scorer, named_version, open_store
from sentiflow.store.records import ACCURACY, Store, Version, VersionRecord, parse_fraction
from sentiflow.training.fitting import fit
from sentiflow.training.learnt import NOTHING, learnt_of
from sentiflow.training.recipes import TrainConfig

_KNOWN = 0.25  # of a table's test reviews, from which on a start that has learnt them is not taken by itself
_SAME_LANGUAGE = 0.6  # of a table's words; English tables have 85 to 97% in the base, those of ten others 2 to 40%

# Area under the ROC curve. With the base, tables of reviews have 0.70 to 0.96; nine others have 0.50 to 0.63, and
# from nothing a lower validation loss: docs/own-tables.md.
_TELLS, _LOOKED_AT = 0.65, 2_000


@dataclass(frozen=True)
class Start:
    """What a training starts from."""

    asked: str = NONE  # as the user named it
    name: str = NONE  # or base, or a version, such as reviews-sentiment/3
    why: str = ""
    digest: str = ""
    accuracy: float | None = None  # on its own test split, if it is known
    words: float = 0.0  # share of the table's training words that it knows
    new: int | None = None  # how many of the table's reviews to learn from it has not learnt, if that is known
    # Read once, as a second reading may fail: all parts of a training leave out the same test reviews.
    learnt: Hashes | None = field(default_factory=lambda: NOTHING, compare=False, repr=False)

    def __bool__(self) -> bool:
        return self.name != NONE

    def knows(self, content: Reviews) -> NDArray[np.bool_]:
        """Which reviews it has learnt from, shape (n,); none where that is not known."""
        return known(content.review_id, content.words, NOTHING if self.learnt is None else self.learnt)

    def tested(self, content: Reviews) -> Reviews:
        """The reviews without those of the test that it has learnt."""
        return content.take(~self.knows(content) | (content.split != "test"))

    def told(self, content: Reviews) -> str:
        """What to say of test reviews that it has learnt; else empty."""
        tests = content.split == "test"
        lost = int((self.knows(content) & tests).sum())
        return f"{self.name} has learnt {lost:,} of the {tests.sum():,} test reviews" if lost else ""

    def count_new(self, content: Reviews) -> int | None:
        """How many texts to learn from are new to it; None unless it is a version of a user's table."""
        if self.version is None or dataset_of(self.version.name) in BUILT_IN or self.learnt is None:
            return None
        return int((~self.knows(content) & (content.split != "test")).sum())

    @property
    def version(self) -> Version | None:
        """The registered version; None for nothing and the base."""
        name, _, number = self.name.rpartition("/")
        return Version(name, int(number), "as then") if name else None

    def tags(self) -> dict[str, str]:
        if not self:
            return {START_NAME: NONE}
        tags = {START_NAME: self.name, START_DIGEST: self.digest, START_WORDS: f"{self.words:.4f}"}
        tags |= {} if self.accuracy is None else {START_ACCURACY: f"{self.accuracy:.4f}"}
        return tags if self.new is None else tags | {START_NEW: str(self.new)}

    def text(self) -> str:
        if not self:
            return f"from nothing{f', as {self.why}' if self.why else ''}"
        return start_text(self.tags(), self.why)


def choose_start(
    asked: str, dataset: str, config: TrainConfig, content: Reviews, words: Vocabulary, settings: Settings
) -> Start:
    """Find what a training starts from.

    ``auto`` is, for a table of one's own, the champion of its model if the recipe's shapes agree with it, else
    that of IMDB if they agree, else the base. It is nothing for a built-in dataset, and where these know another
    language, or hardly tell the table's labels apart.
    """
    if asked == NONE or (asked == AUTO and dataset in BUILT_IN):
        return Start(asked)
    store, own = open_store(settings), model_name(dataset)
    if asked != AUTO:
        name, number = BASE, 0
        if asked != BASE:
            name, version = version_meant(store, asked)
            number = version.number
        found, scorer = _load(store, name, number, asked, content, words, settings)
        if (size := _size(scorer)) != config.embedding_size:
            problem = f"{found.name} has embeddings of size {size}, the recipe of size {config.embedding_size}."
            raise UsageError(problem, f"Take its size: --set embedding_size={size}")
        return _that_can_be_tested(found, content)
    rest = 0 < settings.start_afresh_after <= _in_a_row(store, own)
    for name in (model_name(IMDB),) if rest else (own, model_name(IMDB)):
        if (champion := champion_of(store, name)) is not None:
            found, scorer = _load(store, name, champion, asked, content, words, settings)
            if isinstance(scorer.weights, Weights) and agree(config, scorer.weights):
                break
    else:
        name = BASE
        found, scorer = _load(store, BASE, 0, asked, content, words, settings)
    if name != own and found.words < _SAME_LANGUAGE:
        return Start(asked, why=f"{found.name} knows {found.words:.0%} of the words")
    if name != own and (why := hardly_tells(content, words, scorer)):
        return Start(asked, why=f"{found.name} {why}")
    found = _that_can_be_tested(found, content)
    if found.name == BASE and _size(scorer) != config.embedding_size:
        return Start(asked, why=f"{BASE} has embeddings of another size")
    return found


def _that_can_be_tested(start: Start, content: Reviews) -> Start:
    """The start; for ``auto`` nothing in its place where it has learnt too many of the test reviews.

    Raises:
        UsageError: the start was named, and none of a label are left to test on.
    """
    kept = start.tested(content)
    tests, left = content.label[content.split == "test"], kept.label[kept.split == "test"]
    few = len(left) < len(tests) and len(np.unique(left)) < 2
    if start.asked == AUTO and (few or len(left) < (1 - _KNOWN) * len(tests)):
        return Start(AUTO, why=start.told(content))
    if few:
        problem = f"{start.told(content)}: too few are left to test on."
        raise UsageError(problem, f"Begin without it: --start-from {NONE}")
    return start


def choose_and_fit(
    asked: str, dataset: str, config: TrainConfig, content: Reviews, words: Vocabulary, settings: Settings
) -> tuple[Start, TrainConfig]:
    """What a training of a prepared table starts from, and the recipe as it is fitted to both."""
    start = choose_start(asked, dataset, config, content, words, settings)
    return start, fit(config, content, FIRST_WORD + len(words), started=bool(start))


def load_start(start: Start, settings: Settings) -> TextScorer | None:
    """The words and weights that a training starts from, or None."""
    if not start:
        return None
    if start.version is None:
        scorer, digest = base.base().scorer, base.base().digest
    else:
        scorer = load_scorer(settings, start.version)
        digest = scorer.digest
    if digest != start.digest:
        problem = f"The training started from {start.name}, which is another now."
        raise ExternalError(problem, "Bring back what it was, or train without it: --start-from none")
    return scorer


def agree(config: TrainConfig, weights: Weights) -> bool:
    """Whether recurrence and output of a network fit the recipe."""
    kinds = {member.pooling for member in weights.members}
    pooling = "mixed" if len(kinds) > 1 else kinds.pop()
    return (
        weights.kernel.shape == (config.embedding_size, config.units)
        and (weights.backward_kernel is not None) == config.bidirectional
        and weights.mask_zero == config.mask_zero
        and config.pooling == pooling
        and ("ensemble_size" in config.fit_to_table or config.ensemble_size == len(weights.members))
    )


def known_share(content: Reviews, words: Vocabulary, scorer: TextScorer) -> float:
    """Share of the words of the training reviews, repeated ones counted each time, that a network knows."""
    tokens, size = content.of("train").tokens, FIRST_WORD + len(words)
    counts = np.bincount(np.concatenate(tokens) if tokens else [], minlength=size)
    theirs, _ = scorer.known_rows(words, size)
    return float(counts[theirs[FIRST_WORD:]].sum() / max(counts[FIRST_WORD:].sum(), 1))


def hardly_tells(content: Reviews, words: Vocabulary, scorer: TextScorer) -> str:
    """What to say of a start whose scores have little to do with the labels of the reviews to learn; else empty.

    Looks at the area under the ROC curve of up to 2,000 reviews, either way round: a table may call the bad
    answer 1. Left out is a start that is below the limit by a standard error (that of the rank test at chance).
    """
    from sklearn.metrics import roc_auc_score  # takes a second to import

    some = content.of("train").spread(_LOOKED_AT)
    ones = int(some.label.sum())
    if min(ones, len(some) - ones) == 0:
        return ""
    ids = np.full(FIRST_WORD + len(words), OUT_OF_VOCABULARY, np.int32)
    theirs, own = scorer.known_rows(words, len(ids))
    ids[theirs] = own
    area = float(roc_auc_score(some.label, scorer.score_ids([ids[tokens] for tokens in some.tokens])))
    area, error = max(area, 1 - area), ((1 / ones + 1 / (len(some) - ones)) / 12) ** 0.5
    told = f"hardly tells these labels apart (area under the ROC curve {area:.2f})"
    return told if area + error < _TELLS else ""


def started(record: RunRecord, settings: Settings) -> Start:
    """What a training of before started from."""
    name, tags = record.params.get(START_FROM, NONE), record.tags
    if name == NONE:
        return Start()
    words, new = number(tags.get(START_WORDS)) or 0.0, number(tags.get(START_NEW))
    return Start(
        name, name, "as then", tags.get(START_DIGEST, ""), number(tags.get(START_ACCURACY)), words,
        None if new is None else int(new), learnt_of(name, settings),
    )  # fmt: skip


def version_meant(store: Store, asked: str) -> tuple[str, VersionRecord]:
    """The model and the version that a user named, or that a run made."""
    if (named := named_version(store, asked)) is not None:
        return named
    record = find_run(store, asked)
    name, _, number = store.versions_by_run().get(record.run_id, "").rpartition("/")
    version = store.version(name, int(number)) if name else None
    if version is None:
        raise UsageError(f"{record.name} made no version to start from.", "See: sentiflow versions")
    return name, version


def _size(scorer: TextScorer) -> int:
    if not isinstance(scorer.weights, Weights):
        problem = "A model of one's own is nothing to start from: its layers are not those of a recipe."
        raise UsageError(problem, f"Name another version, or begin without it: --start-from {NONE}")
    return int(scorer.weights.embedding.shape[1])


def _load(
    store: Store, name: str, number: int, asked: str, content: Reviews, words: Vocabulary, settings: Settings
) -> tuple[Start, TextScorer]:
    """A version, or the base, as a start, and what scores with it."""
    if name == BASE:
        found = base.base()
        share = known_share(content, words, found.scorer)
        why = "the packaged network of IMDB reviews"
        start = Start(asked, BASE, why, found.digest, found.accuracy, share, learnt=learnt_of(BASE, settings))
        return start, found.scorer
    why = "the champion" if asked == AUTO else "chosen by name"
    try:
        scorer = load_scorer(settings, Version(name, number, why))
    except ExternalError as err:
        raise ExternalError(
            f"The training would start from {name} version {number}, {why}. {err.args[0]}",
            f"Start from what is there: --start-from {BASE}, or --start-from {NONE}",
        ) from err
    version = store.version(name, number)
    accuracy = None if version is None else parse_fraction(version.tags.get(ACCURACY))
    share, learnt = known_share(content, words, scorer), learnt_of(f"{name}/{number}", settings)
    return Start(asked, f"{name}/{number}", why, scorer.digest, accuracy, share, learnt=learnt), scorer


def _in_a_row(store: Store, name: str) -> int:
    """How many of the newest versions started from one of the same model, without another between."""
    count = 0
    for version in reversed(store.versions(name)):
        if not version.tags.get(START_NAME, "").startswith(f"{name}/"):
            break
        count += 1
    return count
