"""What versions are judged by: their scores of the candidate's test reviews, and what they are loaded with."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray
from requests import RequestException
from yaml import YAMLError

from sentiflow.data import reviews
from sentiflow.data.division import text_hashes
from sentiflow.data.prepare import kept_table
from sentiflow.errors import ExternalError, first_line
from sentiflow.evaluation.score_table import ScoreTable
from sentiflow.evaluation.statistics import beyond_chance, compare, format_interval, format_points
from sentiflow.names import BUILT_IN
from sentiflow.promotion.gate import Learnt
from sentiflow.redaction import redact, without_secrets
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store.client import record_of
from sentiflow.store.find import SCORES, YARDSTICK_SCORES, open_store, score_table
from sentiflow.store.types import ACCURACY, MISSING, SCORER_DIGEST, Store, VersionRecord, parse_fraction
from sentiflow.store.versions import load_unchanged, need_dataset
from sentiflow.training import package
from sentiflow.training.learnt import NOTHING, learnt_by_version

LOGGER = logging.getLogger("gate")
Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class UnloadableError(ExternalError):
    """A version's files are gone or damaged, or of another kind."""


def load(name: str, number: int, folder: Path) -> tuple[Path, TextScorer]:
    """Load a packaged model with the library's own scorer, as ``predict`` and ``serve`` do.

    The code in the package is checked, but never run: anyone who can write to the registry could replace it, and
    it would run with the rights and passwords of the user who promotes.

    Returns:
        The folder of its files, and what scores with them.

    Raises:
        UnloadableError: its files are gone or damaged, here or for MLflow.
        ExternalError: the disk is full, or a file cannot be read.
    """
    try:
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=str(folder)))
        if not package.need_whole(path):
            other = "%s version %d was packaged with other code; scored with this installation's"
            LOGGER.warning(other, name, number)
        tags = MlflowClient().get_model_version(name, str(number)).tags
        return path, load_unchanged(path, tags)
    except (MlflowException, OSError, ValueError, KeyError, TypeError, AttributeError, YAMLError) as err:
        message = f"Cannot load {name} version {number}: {redact(first_line(err)).removesuffix('.')}."
        if not _is_passing(err):
            raise UnloadableError(message, "Are its files still there?") from without_secrets(err)
        if isinstance(err, MlflowException | RequestException):
            raise  # whoever connected says what to do
        raise ExternalError(message, "Try again when the disk has space and the file can be read.") from err


def _is_passing(err: Exception) -> bool:
    """Whether a server, the network or this machine failed, and not the files."""
    if isinstance(err, MlflowException):
        return err.error_code not in MISSING
    return isinstance(err, OSError) and not isinstance(err, FileNotFoundError | NotADirectoryError)


def _same_data(one: VersionRecord, other: VersionRecord) -> bool:
    digest = one.tags.get("dataset.digest")
    return digest is not None and digest == other.tags.get("dataset.digest")


@dataclass(frozen=True)
class Scores:
    """Score tables of versions, on the candidate's test reviews."""

    name: str
    client: MlflowClient
    settings: Settings
    logger: Logger
    folder: Path

    def of_champion(self, champion: VersionRecord, candidate: VersionRecord, table: ScoreTable) -> ScoreTable:
        """The stored table if it has the test reviews of the candidate's table, else new scores."""
        if _same_data(champion, candidate):
            if (stored := self.stored(champion, table)) is not None:
                return stored
        else:
            self.logger.info("the champion may have been tested on other reviews: scored again")
        _, scorer = load(self.name, champion.number, self.folder / "champion")
        scored = self.score(champion, candidate, scorer)
        try:
            return scored.in_order_of(table)
        except ValueError as err:
            raise ExternalError(
                f"The scores in the run of {self.name} version {candidate.number} are damaged: {first_line(err)}.",
                f"Remove {SCORES} from that run: the version is then scored again.",
            ) from err

    def better_than(self, candidate: VersionRecord, table: ScoreTable, others: Iterable[VersionRecord]) -> str:
        """Of a first model: the version that labels more of the same test reviews correctly, as a warning."""
        known = [
            (accuracy, other)
            for other in others
            if other.number != candidate.number
            and _same_data(other, candidate)
            and (accuracy := parse_fraction(other.tags.get(ACCURACY))) is not None
        ]
        accuracy, best = max(known, key=lambda each: each[0], default=(0.0, candidate))
        if accuracy <= table.right.mean() or (stored := self.stored(best, table)) is None:
            return ""
        found = compare(stored.right, table.right)
        interval = format_interval(found.low, found.high)
        chance = "beyond" if beyond_chance(found.low, found.high) else "within"
        return (
            f"Version {best.number} has a higher test accuracy: {accuracy:.2%}, "
            f"{format_points(found.difference)} (95% interval {interval}, {chance} chance)."
        )

    def stored(self, version: VersionRecord, other: ScoreTable | None = None) -> ScoreTable | None:
        """The table that the version's run keeps, in the order of another one.

        None if it is gone or damaged, does not hold the reviews of the other one, or may be of other weights.
        """
        if SCORER_DIGEST not in version.tags:  # a person registered it, and may have named any run
            self.logger.info("version %s may have other weights than its run: scored again", version.number)
            return None
        try:
            # By MLflow's client: the run may be deleted, and its scores still be there.
            record = record_of(self.client.get_run(str(version.run_id)))
            table = score_table(open_store(self.settings), record, self.folder)
            reason = "there is no such file"
            if table is not None and other is not None:
                table = table.in_order_of(other)
        except (MlflowException, ExternalError, ValueError) as err:
            table, reason = None, first_line(err)
        if table is None:
            self.logger.warning(
                "the scores of version %s are not in its run (%s): scored again", version.number, reason
            )
        return table

    def yardstick(self, version: VersionRecord) -> ScoreTable | None:
        """What the yardstick scored when the version was trained; None if its run keeps no such scores."""
        if SCORER_DIGEST not in version.tags:
            return None
        try:
            record = record_of(self.client.get_run(str(version.run_id)))
            return score_table(open_store(self.settings), record, self.folder, YARDSTICK_SCORES)
        except (MlflowException, ExternalError) as err:
            if _is_passing(err):
                raise
            self.logger.warning(
                "version %s is not compared with a simple model: %s", version.number, first_line(err)
            )
            return None

    def score(self, version: VersionRecord, candidate: VersionRecord, scorer: TextScorer) -> ScoreTable:
        """Score the candidate's test reviews with a version; ExternalError if they are not on this machine."""
        dataset, digest = need_dataset(self.name, candidate)
        path = kept_table(dataset, digest, self.settings)
        if not path.is_file():
            raise ExternalError(
                f"The test reviews of {self.name} version {candidate.number} are not at {path}.",
                f"Prepare them here: sentiflow data --dataset {dataset if dataset in BUILT_IN else 'PATH'}",
            )
        self.logger.info("scoring the test reviews with version %s", version.number)
        test, words = reviews.read(path).of("test"), reviews.read_vocabulary(path)
        texts = reviews.of_test(path, "text")  # with words that are in no training review, too
        named = zip(test.review_id.tolist(), test.tokens, strict=True)
        scores = scorer.score([texts.get(name) or words.decode(ids, unknown="") for name, ids in named])
        return ScoreTable(test.review_id, test.label, scores, test.n_tokens, scorer.sequence_length)


def learnt_of(
    versions: Sequence[VersionRecord], ids: NDArray[np.str_], client: MlflowClient, store: Store, folder: Path
) -> Learnt | None:
    """Which reviews of these ids, shape (n,), one of the versions has learnt from; None of built-in datasets."""
    known = {version.number: learnt_by_version(version, client, store, folder) for version in versions}
    if all(hashes is NOTHING for hashes in known.values()):
        return None
    hashes = np.concatenate([NOTHING, *(each for each in known.values() if each is not None)])
    return Learnt(np.isin(text_hashes(ids), hashes), tuple(key for key, each in known.items() if each is None))
