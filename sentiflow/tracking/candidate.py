"""Everything the gate wants to know of a candidate and the champion, gathered from the store."""

import logging
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import mlflow.artifacts
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sentiflow.data import reviews
from sentiflow.errors import UsageError, WorldError
from sentiflow.evaluation import gate
from sentiflow.evaluation.gate import Cost, Decision, Limits, ScoreTable
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.tracking import package
from sentiflow.tracking.client import champion_of, connect, need_model, need_version, tracking_errors

LOGGER = logging.getLogger("weigh")

_SCORES = "test_scores.parquet"
_TEXTS = 30  # timed one by one; the median of so many is steady
_COMMON = 50  # words of the vocabulary that such a text repeats
Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True)
class Weighed:
    """A candidate held against the champion.

    Attributes:
        name: of the registered model.
        version: the candidate.
        run_id: of its training.
        champion: the version in use; None when there is none.
        champion_run_id: of its training.
        decision: the gate's.
    """

    name: str
    version: int
    run_id: str
    champion: int | None
    champion_run_id: str | None
    decision: Decision


@dataclass(frozen=True)
class Packaged:
    """A packaged model: its files, and what scores with them here."""

    path: Path
    scorer: TextScorer


def weigh(name: str, number: int | None, settings: Settings, logger: Logger = LOGGER) -> Weighed:
    """Hold a version, by default the newest, against the champion and the limits of the settings; changes nothing.

    Raises:
        UsageError: there is no such version, or it is the champion already.
        WorldError: the store fails, or a version's files or scores are not to be had.
    """
    client = connect(settings)
    with tracking_errors(settings.tracking_uri), tempfile.TemporaryDirectory() as folder:
        current = champion_of(client, name)  # first: whatever it is, the versions read next hold it
        versions = need_model(client, name)
        candidate = need_version(versions, name, max(versions) if number is None else number)
        if current == int(candidate.version):
            raise UsageError(
                f"{name} version {current} is the champion already.", "See the others: sentiflow versions"
            )
        champion = None if current is None else need_version(versions, name, current)
        packaged = load(name, int(candidate.version), Path(folder) / "candidate")
        cost = _cost(packaged)
        store = _Store(client, settings, logger, Path(folder))
        mine = store.stored_table(candidate) or store.scored(candidate, candidate, packaged.scorer)
        theirs = None if champion is None else _champions(store, champion, candidate)
    decision = gate.judge(mine, theirs, cost, limits_of(settings))
    run_id = None if champion is None else str(champion.run_id)
    return Weighed(name, int(candidate.version), str(candidate.run_id), current, run_id, decision)


def limits_of(settings: Settings) -> Limits:
    """The gate's limits."""
    return Limits(
        floor=settings.gate_floor,
        margin=settings.gate_margin,
        slice_margin=settings.gate_slice_margin,
        slice_least=settings.gate_slice_least,
        latency_ms=settings.gate_latency_ms,
        size_mb=settings.gate_size_mb,
    )


def load(name: str, number: int, folder: Path) -> Packaged:
    """Load a packaged model with the library's own scorer, as ``predict`` and ``serve`` do.

    The code that was packed with it is checked to be whole, and never run: whoever can write to the registry could
    have put any other there, which would run with the rights and passwords of whoever promotes.

    Raises:
        WorldError: it cannot be loaded, here or by MLflow.
    """
    try:
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=str(folder)))
        if not package.need_whole(path):
            LOGGER.warning(
                "%s version %d was packed with other code than this installation's: scored with this one's",
                name,
                number,
            )
        return Packaged(path, TextScorer.load(path / "artifacts"))
    except (MlflowException, OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise WorldError(
            f"Cannot load {name} version {number}: {err}.", "Are its files still there? Choose another version."
        ) from err


def _cost(packaged: Packaged) -> Cost:
    """Measure what the packaged model costs whoever serves it."""
    size = sum(file.stat().st_size for file in packaged.path.rglob("*") if file.is_file())
    known = cycle(packaged.scorer.vocabulary.words[:_COMMON])
    text = " ".join(islice(known, packaged.scorer.sequence_length))  # of full length
    packaged.scorer.score([text])  # what is made at the first call is no part of an answer
    seconds = (_seconds(packaged.scorer, text) for _ in range(_TEXTS))
    return Cost(1_000 * statistics.median(seconds), size / 1e6)


def _seconds(scorer: TextScorer, text: str) -> float:
    started = time.perf_counter()
    scorer.score([text])
    return time.perf_counter() - started


def _champions(store: "_Store", champion: ModelVersion, candidate: ModelVersion) -> ScoreTable:
    """The champion's scores on the candidate's test reviews: the stored ones where these are the same reviews."""
    same = champion.tags.get("dataset.digest") == candidate.tags.get("dataset.digest")
    stored = store.stored_table(champion) if same else None
    if stored is not None:
        return stored
    if not same:
        store.logger.info("the champion was tested on other reviews: scored again on the candidate's")
    packaged = load(champion.name, int(champion.version), store.folder / "champion")
    return store.scored(champion, candidate, packaged.scorer)


@dataclass(frozen=True)
class _Store:
    client: MlflowClient
    settings: Settings
    logger: Logger
    folder: Path

    def stored_table(self, version: ModelVersion) -> ScoreTable | None:
        """The scores that the version's run keeps, or None when they are gone."""
        run_id = str(version.run_id)
        try:
            length = int(self.client.get_run(run_id).data.params["sequence_length"])
            folder = self.folder / f"scores-{version.version}"
            folder.mkdir(exist_ok=True)
            table = pd.read_parquet(self.client.download_artifacts(run_id, _SCORES, str(folder)))
            return _score_table(table, length)
        except (MlflowException, OSError, KeyError, ValueError) as err:  # Arrow's errors are ValueErrors
            self.logger.warning(
                "the scores of version %s are not in its run (%s): scored again", version.version, str(err)[:200]
            )
            return None

    def scored(self, version: ModelVersion, candidate: ModelVersion, scorer: TextScorer) -> ScoreTable:
        """Scores of a version on the candidate's test reviews.

        Raises:
            WorldError: these reviews are not on this machine.
        """
        dataset, digest = candidate.tags.get("dataset", ""), candidate.tags.get("dataset.digest", "")
        path = self.settings.data_dir / "datasets" / dataset / f"{digest}.parquet"
        if not path.is_file():
            raise WorldError(
                f"The test reviews of {candidate.name} version {candidate.version} are not at {path}.",
                f"Prepare them on this machine: sentiflow data --dataset {dataset or 'NAME'}",
            )
        self.logger.info("scoring the test reviews with version %s", version.version)
        test, words = reviews.read(path).of("test"), reviews.read_vocabulary(path)
        scores = scorer.score([words.decode(ids, unknown="") for ids in test.tokens])
        return ScoreTable(test.review_id, test.label, scores, test.n_tokens, scorer.sequence_length)


def _score_table(table: pd.DataFrame, sequence_length: int) -> ScoreTable:
    label, score, n_tokens = (table[column].to_numpy() for column in ("label", "score", "n_tokens"))
    return ScoreTable(table["review_id"].to_numpy().astype(str), label, score, n_tokens, sequence_length)
