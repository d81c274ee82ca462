"""A candidate: its scores and the champion's on the same test reviews, and its cost, judged by the gate."""

import logging
import statistics
import tempfile
import timeit
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, Self

import mlflow.artifacts
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray
from requests import RequestException
from yaml import YAMLError

from sentiflow.console import Logger, progress_bar
from sentiflow.data import reviews
from sentiflow.data.division import known, word_hash
from sentiflow.data.prepare import kept_table
from sentiflow.errors import ExternalError, RejectedError, UsageError, first_line
from sentiflow.evaluation.scores import YARDSTICK, ScoreTable
from sentiflow.names import BUILT_IN, dataset_of
from sentiflow.promotion import behaviour, gate
from sentiflow.promotion.gate import Cost, Decision, Evidence, Group, Limits, judge
from sentiflow.promotion.history import Event, choose, decline_of, history_of
from sentiflow.redaction import escape_markdown, redact, without_secrets
from sentiflow.runs.record import CAVEAT, TESTED_ON
from sentiflow.scoring import NewerFormatError, TextScorer
from sentiflow.settings import Settings
from sentiflow.store.client import connect, record_of, tracking_errors
from sentiflow.store.find import (
    YARDSTICK_SCORES,
    champion_of,
    load_unchanged,
    need_dataset,
    need_versions,
    open_store,
    reproduction_of,
    score_table,
    with_dataset,
)
from sentiflow.store.records import (
    MISSING,
    SCORER_DIGEST,
    UPGRADE,
    Store,
    VersionRecord,
    need_number,
    need_ours,
    renamed,
)
from sentiflow.training import package
from sentiflow.training.learnt import NOTHING, by_texts_alone, learnt_by_version

LOGGER = logging.getLogger("promote")
_SIMPLE_IS_BETTER = (
    f"{YARDSTICK}, a simple model of words and pairs of words, is better. What helps: more reviews, another "
    "start or seed, the recipe large (docs/baselines.md).\n"
)
# What loading files that are not as they should be raises; of a store whose client is not installed, too.
_BROKEN = (MlflowException, OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, YAMLError)
_TEXTS = 30  # timed one by one
_COMMON = 50  # words of the vocabulary that such a text repeats
NO_REASON = "all checks passed"
Answer = Literal["passed", "approved", "forced", "refused", "declined", "unanswered"]


@dataclass(frozen=True)
class Candidate:
    """A version of a registered model that was judged, why it was chosen, and what came of it.

    The gate ``passed`` or ``refused`` it, or a person ``approved``, ``declined`` or ``forced`` it, or left it
    ``unanswered``; the reason of a refusal is the rules that do not hold. The event is what made it champion.
    """

    name: str
    version: int
    why: str
    run_id: str
    champion: int | None
    decision: Decision
    answer: Answer | None = None
    reason: str = ""
    by: str = ""
    event: Event | None = None
    asked: bool = field(default=False, repr=False)  # whether a person was asked

    @property
    def promotes(self) -> bool:
        """Whether it is to become champion."""
        return self.answer in ("passed", "approved", "forced")

    def answered(self, *, promote: bool, why: str, name: str) -> Self:
        """The candidate after a person's answer; it names who asked and who answered, with both reasons."""
        who = name or "a person in the Prefect UI"
        if not promote:
            return replace(self, answer="declined", reason=why or "no reason given", by=who)
        given = "" if self.reason == NO_REASON else self.reason
        return replace(
            self,
            answer="forced" if self.answer == "forced" else "approved",
            reason="; ".join(filter(None, [given, why])) or NO_REASON,
            by=f"{who}, asked by {self.by}",
        )

    def markdown(self) -> str:
        """The candidate and its judgement."""
        decision = self.decision
        outcome = "all checks passed" if decision.passed else f"**{escape_markdown(decision.refusal)}**"
        rules = [
            f"- {'passed' if rule.passed else '**failed**'}: *{rule.name}*, {escape_markdown(rule.text)}"
            for rule in decision.rules
        ]
        notes = [f"- {escape_markdown(note)}" for note in decision.notes]
        return "\n".join([f"**{escape_markdown(self.title)}**; {outcome}", "", *rules, *notes, ""])

    @property
    def summary(self) -> str:
        """The outcome in a sentence."""
        version = f"{self.name} version {self.version}"
        if self.event is None:
            declined = [rule.text for rule in self.decision.failures if rule.name == gate.DECLINE]
            refused = declined[0] if declined else self.decision.refusal
            whys = {"declined": f"declined by {self.by}: {self.reason}", "unanswered": self.reason}
            return f"{version} was not promoted: {whys.get(str(self.answer), refused)}"
        replaced = "the first one" if self.event.replaced is None else f"replacing version {self.event.replaced}"
        return f"{version} is now the champion, {replaced} ({self.event.decision})."

    @property
    def state_name(self) -> str | None:
        """The name of its flow run's final state where it was not promoted; a no is an answer, and no failure."""
        return None if self.event else str(self.answer).capitalize()

    def need_promotion(self) -> Event:
        """The event that made it champion; an error if it was refused."""
        if self.event is None:
            raise RejectedError(self.summary, self.way_out if self.answer == "refused" else "")
        return self.event

    @property
    def title(self) -> str:
        """The candidate, why it was chosen, and what it was compared with."""
        chosen = f" ({self.why})" if self.why else ""
        compared = "compared" if self.decision.comparison else "cannot be compared"
        champion = f"{compared} with version {self.champion}, the champion"
        against = "no champion yet" if self.champion is None else champion
        return f"{self.name} version {self.version}{chosen}: {against}"

    @property
    def way_out(self) -> str:
        """What can be done about a refusal by the gate."""
        command = f"sentiflow promote {self.version} --dataset {dataset_of(self.name)}"
        failed = [rule.name for rule in self.decision.failures]
        helps = {
            gate.REPRODUCED: f"Train it again: sentiflow reproduce {self.name}/{self.version}\n",
            gate.BASELINE: _SIMPLE_IS_BETTER,
            gate.ABOVE: f"Promote it by its number: {command}\n",
            gate.MEANING: "Train again with the meanings of before: --labels\n",
        }
        first = "".join(text for name, text in helps.items() if name in failed)
        other = "Train another recipe (docs/recipes.md) or change a limit (SENTIFLOW_GATE_*, docs/settings.md).\n"
        if failed == [gate.ABOVE]:
            return first.rstrip()
        return (
            f"{first}{'' if {*failed} <= {gate.DECLINE, gate.MEANING} else other}"
            f'Promote it all the same: {command} --force --reason "..."'
        )


def evaluate_candidate(
    name: str,
    number: int | None,
    settings: Settings,
    logger: Logger = LOGGER,
    *,
    force: bool = False,
    unattended: bool = False,
) -> Candidate:
    """Compare a version of a model with the champion and the limits of the settings; changes nothing.

    Without a number ``choose`` does; ``unattended``, no person has asked for this number. The logger gets a line
    when reviews have to be scored again. With force, a champion that cannot score any more is a check that failed,
    else an error.
    """
    client, store, named = connect(settings), open_store(settings), number is not None and not unattended
    with tracking_errors(settings.tracking_uri), tempfile.TemporaryDirectory() as folder:
        found, current, number, why = choice_of(store, name, number, settings)
        versions = {key: with_dataset(store, version) for key, version in found.items()}
        candidate = versions[number]
        champion = None if current is None else versions[need_number(versions, name, current)]
        files, scorer = load(name, number, Path(folder) / "candidate")
        scores = Scores(name, client, settings, logger, Path(folder))
        table = scores.stored(candidate) or scores.score(candidate, candidate, scorer)
        rows = candidate.tags.get(TESTED_ON)
        given = Evidence(
            table,
            None,
            cost_of(files, scorer),
            reproduced=reproduction_of(candidate.tags),
            yardstick=scores.yardstick(candidate),
            named=named,
            notes=[*filter(None, (candidate.tags.get(CAVEAT), rows and f"Tested on {rows}."))],
        )
        old: list[Group] = []
        beside = None
        if champion is not None:
            try:
                given = replace(given, champion=scores.of_champion(champion, candidate, table))
                its = scores.loaded.get(champion.number, scorer)  # not loaded: trained on the same table
                given = replace(given, names=(scorer.label_names, its.label_names))
                beside = scores.scorer(champion) if settings.gate_behaviour else None
                old = scores.of_old_reviews(champion, candidate, scorer, table)
            except (UsageError, UnloadableError) as err:  # others registered it, or it is gone
                reason = first_line(err)
                lost = isinstance(err, UnloadableError)
                silent = f"the champion cannot be compared with: {reason}" if lost else reason
                if not force and lost:
                    again = f"sentiflow promote {number} --dataset {dataset_of(name)} --force --reason"
                    raise ExternalError(silent[0].upper() + silent[1:], f'Replace it: {again} "..."') from err
                if not force:
                    raise
                given = replace(given, champion=None, silent=silent)
        given = replace(
            given,
            learnt=scores.learnt([candidate, *([champion] if champion else [])], table, candidate),
            recent=scores.recent(candidate, table),
            groups=[*old, *behaviour.groups(settings, scorer, beside)],
        )
    # A no counts for the weights and words: trained again, they are another version.
    equal = [key for key, each in versions.items() if scorer.has_digest(each.tags.get(SCORER_DIGEST))]
    if no := decline_of(history_of(name, settings)[0], number, *equal):
        said = no.said if no.version == number else f"version {no.version}, an equal one, was {no.said}"
        given = replace(given, declined=said)
    given = replace(given, notes=[*scores.unknown, *given.notes])
    return Candidate(name, number, why, candidate.run_id or "", current, judge(given, Limits.of(settings)))


def choice_of(
    store: Store, name: str, number: int | None, settings: Settings
) -> tuple[dict[int, VersionRecord], int | None, int, str]:
    """A model's versions, its champion, the version to judge, and why that one; an error if it is the champion."""
    champion = champion_of(store, name)  # before the versions: they include it then
    found, why = need_versions(store, name), ""
    if number is None:
        number, why = choose(found, history_of(name, settings)[0], champion, dataset_of(name))
    if need_number(found, name, number) == champion:
        raise UsageError(
            f"{name} version {number} is the champion already.",
            f"See the others: sentiflow versions --dataset {dataset_of(name)}",
        )
    return found, champion, number, why


def cost_of(folder: Path, scorer: TextScorer) -> Cost:
    """Measure the size of a packaged model, and the time of a text of full length that is scored alone."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    known = cycle(scorer.vocabulary.words[:_COMMON])
    text = " ".join(islice(known, scorer.sequence_length))  # of full length
    scorer.score([text])  # warm-up
    seconds = timeit.repeat(lambda: scorer.score([text]), repeat=_TEXTS, number=1)
    return Cost(1_000 * statistics.median(seconds), size / 1e6)


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
            LOGGER.warning(other, name, number)
        return path, load_unchanged(path, tags)
    except _BROKEN as err:
        message = f"Cannot load {name} version {number}: {redact(first_line(err)).removesuffix('.')}."
        if not _is_passing(err):
            need_ours(name, number, tags, path)
            hint = UPGRADE if isinstance(err, NewerFormatError) else "Are its files still there?"
            raise UnloadableError(message, hint) from without_secrets(err)
        if isinstance(err, MlflowException | RequestException):
            raise  # whoever connected says what to do
        raise ExternalError(message, "Try again when the disk has space and the file can be read.") from err


def _is_passing(err: Exception) -> bool:
    """Whether a server, the network or this machine failed, and not the files."""
    if isinstance(err, MlflowException):
        return err.error_code not in MISSING
    return isinstance(err, OSError) and not isinstance(err, FileNotFoundError | NotADirectoryError)


@dataclass(frozen=True)
class Scores:
    """What is known of versions on the candidate's test reviews; ``unknown`` gets what is not, in sentences."""

    name: str
    client: MlflowClient
    settings: Settings
    logger: Logger
    folder: Path
    loaded: dict[int, TextScorer] = field(default_factory=dict)  # by version: a champion is loaded once
    unknown: list[str] = field(default_factory=list)

    def of_champion(self, champion: VersionRecord, candidate: VersionRecord, table: ScoreTable) -> ScoreTable:
        """The stored table if it has the test reviews of the candidate's table, else new scores."""
        digest = champion.tags.get("dataset.digest")
        if digest is not None and digest == candidate.tags.get("dataset.digest"):
            if (stored := self.stored(champion, table)) is not None:
                return stored
        else:
            self.logger.info("the champion may have been tested on other reviews: scored again")
        return self.score(champion, candidate, self.scorer(champion)).of_those_in(table)

    def of_old_reviews(
        self, champion: VersionRecord, candidate: VersionRecord, scorer: TextScorer, tested: ScoreTable
    ) -> list[Group]:
        """Both on the test reviews of the champion's training, where the candidate has others.

        Reviews that the candidate has learnt from are left out. A label that was corrected since is as the
        candidate was ``tested`` by.
        """
        digest = champion.tags.get("dataset.digest")
        if digest == candidate.tags.get("dataset.digest"):
            return []
        path = None if digest is None else kept_table(need_dataset(self.name, champion)[0], digest, self.settings)
        if path is None or not path.is_file():
            where = "known" if path is None else f"at {path}"
            self.unknown.append(
                f"Not compared on what version {champion.number} was tested on: that is not {where}."
            )
            return []
        table = self.score(candidate, champion, scorer)
        own = self.stored(champion, table) or self.score(champion, champion, self.scorer(champion))
        learnt = self.learnt([candidate], table, champion)
        kept = np.ones(len(table.label), bool) if learnt is None else ~learnt
        now = dict(zip(tested.review_id.tolist(), tested.label.tolist(), strict=True))
        labels = zip(table.review_id.tolist(), table.label.tolist(), strict=True)
        label = np.array([now.get(name, before) for name, before in labels])
        both = (replace(each, label=label).right[kept] for each in (table, own.in_order_of(table)))
        return [Group(gate.OLD, *both)]

    def learnt(
        self, versions: Sequence[VersionRecord], table: ScoreTable, tested: VersionRecord
    ) -> NDArray[np.bool_] | None:
        """Which test reviews of a version one of some has learnt from, shape (n,); None of built-in datasets."""
        store, found = open_store(self.settings), [NOTHING]
        for each in versions:
            hashes, name = learnt_by_version(each, self.client, store, self.folder), f"version {each.number}"
            lost = f"What {name} has learnt from is not known: its run does not say."
            if told := lost if hashes is None else by_texts_alone(name, hashes):
                self.unknown.append(told)
            found += [] if hashes is NOTHING else [NOTHING if hashes is None else hashes]
        if len(found) == 1:
            return None
        dataset, digest = need_dataset(self.name, tested)
        path = kept_table(dataset, digest, self.settings)
        texts = reviews.of_test(path, "text") if path.is_file() else {}
        words = [word_hash(texts.get(name, "")) for name in table.review_id.tolist()]
        return known(table.review_id, np.array(words, np.uint64), np.concatenate(found))

    def recent(self, candidate: VersionRecord, table: ScoreTable) -> NDArray[np.bool_] | None:
        """Which reviews of a table are labelled texts in use, shape (n,); None of datasets without them."""
        dataset, digest = need_dataset(self.name, candidate)
        if dataset in BUILT_IN:
            return None
        path = kept_table(dataset, digest, self.settings)
        if not path.is_file():
            told = f"Texts in use not judged: without {path} it is not known which reviews these are."
            self.unknown.append(told)
            return None
        found = reviews.labelled(path)
        return np.isin(table.review_id, found) if found else None

    def scorer(self, champion: VersionRecord) -> TextScorer:
        """What scores with the champion."""
        number = champion.number
        if number not in self.loaded:
            self.loaded[number] = load(self.name, number, self.folder / "champion")[1]
        return self.loaded[number]

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
                table = table.of_those_in(other)
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

    def score(self, version: VersionRecord, tested: VersionRecord, scorer: TextScorer) -> ScoreTable:
        """Score the test reviews of a version with one; ExternalError if they are not on this machine."""
        dataset, digest = need_dataset(self.name, tested)
        path = kept_table(dataset, digest, self.settings)
        if not path.is_file():
            raise ExternalError(
                f"The test reviews of {self.name} version {tested.number} are not at {path}.",
                f"Prepare them here: sentiflow data --dataset {dataset if dataset in BUILT_IN else 'PATH'}",
            )
        self.logger.info("scoring the test reviews with version %s", version.number)
        test, words = reviews.read(path).of("test"), reviews.read_vocabulary(path)
        texts = reviews.of_test(path, "text")  # with words that are in no training review, too
        named = zip(test.review_id.tolist(), test.tokens, strict=True)
        told = [texts.get(name) or words.decode(ids, unknown="") for name, ids in named]
        with progress_bar("Scoring", scorer.network.readings * len(told)) as advance:
            scores = scorer.score(told, advance=advance)
        return ScoreTable(test.review_id, test.label, scores, test.n_tokens, scorer.sequence_length)
