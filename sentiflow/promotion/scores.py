"""The scores of versions on test reviews, stored or made again, and what is known of these reviews.

What is not known comes back beside the answer, as a note for people.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow.artifacts
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray
from requests import RequestException
from yaml import YAMLError

from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.division import known, word_hash
from sentiflow.data.inputs import open_input
from sentiflow.data.parquet import to_values
from sentiflow.data.prepare import kept_table
from sentiflow.data.table import DEFAULT_OPTIONS, plain, written
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.names import BUILT_IN
from sentiflow.promotion.gate import OLD, Group
from sentiflow.redaction import redact, without_secrets
from sentiflow.run.record import DIGEST
from sentiflow.scoring import NewerFormatError, TextScorer, is_name, is_positive
from sentiflow.settings import PREFIX, Settings
from sentiflow.store.client import record_of
from sentiflow.store.find import BASELINE_SCORES, load_unchanged, need_dataset, score_table
from sentiflow.store.records import MISSING, SCORER_DIGEST, UPGRADE, Store, VersionRecord, need_ours, renamed
from sentiflow.training import package
from sentiflow.training.learnt import NOTHING, by_texts_alone, learnt_by_version

logger = logging.getLogger(__name__)
# What loading files that are not as they should be raises; of a store whose client is not installed, too.
_BROKEN = (MlflowException, OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, YAMLError)

Load = Callable[[], TextScorer]  # loads the champion if it is needed


class UnloadableError(ExternalError):
    """A version's files are gone or damaged, or of another kind."""


def load(name: str, number: int, folder: Path) -> tuple[Path, TextScorer]:
    """Load a packaged model with the library's own scorer, as ``predict`` and ``serve`` do.

    The code in the package is checked, but never run: anyone who can write to the registry could replace it, and
    it would run with the rights and passwords of the user who promotes. Gives the folder of its files, and what
    scores with them.
    """
    path, tags = folder, renamed(MlflowClient().get_model_version(name, str(number)).tags)
    try:
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=str(folder)))
        if not package.need_whole(path):
            other = "%s version %d was packaged with other code; scored with this installation's"
            logger.warning(other, name, number)
        return path, load_unchanged(path, tags)
    except _BROKEN as err:
        message = f"Cannot load {name} version {number}: {redact(first_line(err)).removesuffix('.')}."
        if not is_passing(err):
            need_ours(name, number, tags, path)
            hint = UPGRADE if isinstance(err, NewerFormatError) else "Are its files still there?"
            raise UnloadableError(message, hint) from without_secrets(err)
        if isinstance(err, MlflowException | RequestException):
            raise  # whoever connected says what to do
        raise ExternalError(message, "Try again when the disk has space and the file can be read.") from err


def is_passing(err: Exception) -> bool:
    """Whether a server, the network or this machine failed, and not the files."""
    if isinstance(err, MlflowException):
        return err.error_code not in MISSING
    return isinstance(err, OSError) and not isinstance(err, FileNotFoundError | NotADirectoryError)


@dataclass(frozen=True)
class Model:
    """A registered model whose versions are compared, and where; copies of files go to the folder."""

    name: str
    client: MlflowClient
    store: Store
    settings: Settings
    folder: Path

    def tests(self, version: VersionRecord) -> Path:
        """Where the prepared table with the test reviews of a version is, or would be."""
        return kept_table(*need_dataset(self.name, version), self.settings)


def same_tests(one: VersionRecord, other: VersionRecord) -> bool:
    """Whether both versions were tested on the same reviews, by their datasets' digests."""
    digest = one.tags.get(DIGEST)
    return digest is not None and digest == other.tags.get(DIGEST)


def stored(model: Model, version: VersionRecord, other: ScoreTable | None = None) -> ScoreTable | None:
    """The table that the version's run keeps, in the order of another one.

    None if it is gone or damaged, does not hold the reviews of the other one, or may be of other weights.
    """
    if SCORER_DIGEST not in version.tags:  # a person registered it, and may have named any run
        logger.info("version %s may have other weights than its run: scored again", version.number)
        return None
    try:
        table = _of_run(model, version)
        reason = "there is no such file"
        if table is not None and other is not None:
            table = table.of_those_in(other)
    except (MlflowException, ExternalError, ValueError) as err:
        table, reason = None, first_line(err)
    if table is None:
        logger.warning("the scores of version %s are not in its run (%s): scored again", version.number, reason)
    return table


def stored_baseline(model: Model, version: VersionRecord) -> ScoreTable | None:
    """What the baseline scored when the version was trained; None if its run keeps no such scores."""
    if SCORER_DIGEST not in version.tags:
        return None
    try:
        return _of_run(model, version, BASELINE_SCORES)
    except (MlflowException, ExternalError) as err:
        if is_passing(err):
            raise
        logger.warning("version %s is not compared with the baseline: %s", version.number, first_line(err))
        return None


def _of_run(model: Model, version: VersionRecord, column: str = "score") -> ScoreTable | None:
    # By MLflow's client: the run may be deleted, and its scores still be there.
    record = record_of(model.client.get_run(str(version.run_id)))
    return score_table(model.store, record, model.folder, column)


def score(model: Model, version: VersionRecord, tested: VersionRecord, scorer: TextScorer) -> ScoreTable:
    """Score the test reviews of a version with one; ExternalError if they are not on this machine."""
    path = model.tests(tested)
    if not path.is_file():
        dataset, _ = need_dataset(model.name, tested)
        raise ExternalError(
            f"The test reviews of {model.name} version {tested.number} are not at {path}.",
            f"Prepare them here: sentiflow data --dataset {dataset if dataset in BUILT_IN else 'PATH'}",
        )
    logger.info("scoring the test reviews with version %s", version.number)
    test, words = reviews.read(path).of("test"), reviews.read_vocabulary(path)
    texts = reviews.of_test(path, "text")  # with words that are in no training review, too
    named = zip(test.review_id.tolist(), test.tokens, strict=True)
    told = [texts.get(name) or words.decode(ids, unknown="") for name, ids in named]
    with progress_bar("Scoring", scorer.network.readings * len(told)) as advance:
        scores = scorer.score(told, advance=advance)
    return ScoreTable(test.review_id, test.label, scores, test.n_tokens, scorer.sequence_length)


def of_champion(
    model: Model, champion: VersionRecord, candidate: VersionRecord, its: Load, tested: ScoreTable
) -> ScoreTable:
    """The champion's stored table if it has the test reviews of the candidate's, else new scores."""
    if not same_tests(champion, candidate):
        logger.info("the champion may have been tested on other reviews: scored again")
    elif (table := stored(model, champion, tested)) is not None:
        return table
    return score(model, champion, candidate, its()).of_those_in(tested)


def of_old_reviews(
    model: Model,
    champion: VersionRecord,
    candidate: VersionRecord,
    its: Load,
    scorer: TextScorer,
    tested: ScoreTable,
) -> tuple[list[Group], list[str]]:
    """Both on the test reviews of the champion's training, where the candidate has others.

    Reviews that the candidate has learnt from are left out. A label that was corrected since is as the
    candidate was ``tested`` by.
    """
    if same_tests(champion, candidate):
        return [], []
    path = model.tests(champion) if DIGEST in champion.tags else None
    if path is None or not path.is_file():
        where = "known" if path is None else f"at {path}"
        return [], [f"Not compared on what version {champion.number} was tested on: that is not {where}."]
    table = score(model, candidate, champion, scorer)
    own = stored(model, champion, table) or score(model, champion, champion, its())
    learnt, notes = learnt_by_any(model, [candidate], table, champion)
    kept = np.ones(len(table.label), bool) if learnt is None else ~learnt
    now = dict(zip(tested.review_id.tolist(), tested.label.tolist(), strict=True))
    labels = zip(table.review_id.tolist(), table.label.tolist(), strict=True)
    label = np.array([now.get(name, before) for name, before in labels])
    both = (replace(each, label=label).right[kept] for each in (table, own.in_order_of(table)))
    return [Group(OLD, *both)], notes


def learnt_by_any(
    model: Model, versions: Sequence[VersionRecord], table: ScoreTable, tested: VersionRecord
) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """Which test reviews of a version one of some has learnt from, shape (n,); None of built-in datasets."""
    found, notes = [NOTHING], list[str]()
    for each in versions:
        hashes, name = learnt_by_version(each, model.client, model.store, model.folder), f"version {each.number}"
        lost = f"What {name} has learnt from is not known: its run does not say."
        notes.append(lost if hashes is None else by_texts_alone(name, hashes))
        found += [] if hashes is NOTHING else [NOTHING if hashes is None else hashes]
    if len(found) == 1:
        return None, []
    path = model.tests(tested)
    texts = reviews.of_test(path, "text") if path.is_file() else {}
    words = [word_hash(texts.get(name, "")) for name in table.review_id.tolist()]
    return known(table.review_id, np.array(words, np.uint64), np.concatenate(found)), [*filter(None, notes)]


def texts_in_use(
    model: Model, candidate: VersionRecord, table: ScoreTable
) -> tuple[NDArray[np.bool_] | None, str]:
    """Which reviews of a table are labelled texts in use, shape (n,); None of datasets without them."""
    dataset, _ = need_dataset(model.name, candidate)
    if dataset in BUILT_IN:
        return None, ""
    if not (path := model.tests(candidate)).is_file():
        return None, f"Texts in use not judged: without {path} it is not known which reviews these are."
    found = reviews.labelled(path)
    return (np.isin(table.review_id, found) if found else None), ""


def of_behaviour(settings: Settings, candidate: TextScorer, champion: TextScorer | None) -> list[Group]:
    """The groups of the table of behaviour that the settings name, and what versions answer; none without one."""
    if settings.gate_behaviour is None:
        return []
    texts, labels, names = _read_behaviour(settings.gate_behaviour, candidate.label_names)
    right = [is_positive(each.score(texts)) == labels for each in (candidate, champion) if each is not None]
    found = {name: names == name for name in sorted(set(names.tolist()))}
    return [Group(name, right[0][rows], right[1][rows] if champion else None) for name, rows in found.items()]


_TABLE_HINT = f"Correct the table that {PREFIX}GATE_BEHAVIOUR names: columns text, label and group, in every row."


def _read_behaviour(file: Path, label_names: tuple[str, str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, labels and groups of a table, n of each; a version's own label names are known, too."""
    known = DEFAULT_OPTIONS.known(label_names)
    texts: list[str] = []
    labels: list[bool] = []
    names: list[str] = []
    try:
        source = open_input(file)
        source.select("text", ["group"], "label")
    except UsageError as err:
        raise UsageError(str(err.args[0]), _TABLE_HINT) from err
    for chunk in source.chunks():
        if chunk.rejects:
            first = chunk.rejects[0]
            raise UsageError(f"{file}, row {first.row:,}: {first.reason}.", _TABLE_HINT)
        columns = map(to_values, chunk.columns.columns)
        for number, text, label, name in zip(chunk.rows, chunk.texts, *columns, strict=True):
            if plain(label) not in known or not is_name(written(name)):
                raise UsageError(f"{file}, row {number:,}: label {label!r}, group {name!r}.", _TABLE_HINT)
            texts.append(text)
            labels.append(known[plain(label)] == 1)
            names.append(written(name))
    if not texts:
        raise UsageError(f"{file} has no rows.", _TABLE_HINT)
    return texts, np.array(labels), np.array(names)
