"""Evaluation of a candidate: its scores, its cost and the champion's scores, judged by the gate."""

import statistics
import tempfile
import timeit
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

from sentiflow.errors import ExternalError, RejectedError, UsageError, first_line
from sentiflow.evaluation.score_table import YARDSTICK
from sentiflow.names import dataset_of
from sentiflow.promotion import gate
from sentiflow.promotion.choice import choose
from sentiflow.promotion.gate import Cost, Decision, Limits
from sentiflow.promotion.history import Event, history_of
from sentiflow.promotion.scores import LOGGER, Logger, Scores, UnloadableError, learnt_of, load
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store.client import connect, tracking_errors
from sentiflow.store.find import open_store
from sentiflow.store.types import need_number
from sentiflow.store.versions import champion_of, need_versions, reproduction_of, with_dataset

_SIMPLE_IS_BETTER = (
    f"{YARDSTICK}, a simple model of words and pairs of words, is better. What helps: more reviews, another "
    "start or seed, the recipe large. See what others reach: sentiflow baselines (docs/baselines.md).\n"
)
_TEXTS = 30  # timed one by one
_COMMON = 50  # words of the vocabulary that such a text repeats
Answer = Literal["passed", "approved", "forced", "refused", "declined"]


@dataclass(frozen=True)
class Candidate:
    """A version of a registered model that was judged, and what came of it.

    Attributes:
        why: it was chosen.
        champion: the version in use when it was judged.
        warning: of a first model, another version that tests better; else empty.
        answer: the gate ``passed`` or ``refused`` it, a person ``approved`` or ``declined`` it, or ``forced`` it;
            None until it is decided.
        reason: of a refusal, the rules that do not hold.
        by: who answered.
        event: what made it champion; None otherwise.
    """

    name: str
    version: int
    why: str
    run_id: str
    champion: int | None
    decision: Decision
    warning: str = ""
    answer: Answer | None = None
    reason: str = ""
    by: str = ""
    event: Event | None = None

    @property
    def promotes(self) -> bool:
        """Whether it is to become champion."""
        return self.answer in ("passed", "approved", "forced")

    @property
    def summary(self) -> str:
        """The outcome in a sentence."""
        version = f"{self.name} version {self.version}"
        if self.event is None:
            declined = f"{self.by} declined: {self.reason}"
            why = declined if self.answer == "declined" else self.decision.refusal
            return f"{version} was not promoted: {why}"
        replaced = "the first one" if self.event.replaced is None else f"replacing version {self.event.replaced}"
        return f"{version} is now the champion, {replaced} ({self.event.decision})."

    def need_promotion(self) -> Event:
        """The event that made it champion.

        Raises:
            RejectedError: the gate or a person refused it; holds this candidate.
        """
        if self.event is None:
            # A person's refusal is final.
            way_out = self.way_out if self.answer == "refused" else ""
            raise RejectedError(self.summary, way_out, result=self)
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
        reproduce = f"Train it again: sentiflow reproduce {self.name}/{self.version}\n"
        again = reproduce if gate.REPRODUCED in failed else ""
        simple = _SIMPLE_IS_BETTER if gate.BASELINE in failed else ""
        return (
            f"{again}{simple}"
            "Train another recipe (docs/recipes.md) or change a limit (SENTIFLOW_GATE_*, docs/settings.md).\n"
            f'Promote it all the same: {command} --force --reason "..."'
        )


def evaluate_candidate(
    name: str, number: int | None, settings: Settings, logger: Logger = LOGGER, *, force: bool = False
) -> Candidate:
    """Compare a version of a model with the champion and the limits of the settings; changes nothing.

    Without a number ``choose`` does. The logger gets a line when reviews have to be scored again. With force, a
    champion that cannot score any more is a check that failed.

    Raises:
        UsageError: it is the champion already.
        ExternalError: the champion cannot score any more.
    """
    client, store = connect(settings), open_store(settings)
    with tracking_errors(settings.tracking_uri), tempfile.TemporaryDirectory() as folder:
        current = champion_of(store, name)  # before the versions: they include it then
        found, why = need_versions(store, name), ""
        if number is None:
            number, why = choose(found, history_of(name, settings)[0], current, dataset_of(name))
        versions = {key: with_dataset(store, version) for key, version in found.items()}
        candidate = versions[need_number(versions, name, number)]
        if current == number:
            raise UsageError(
                f"{name} version {current} is the champion already.",
                f"See the others: sentiflow versions --dataset {dataset_of(name)}",
            )
        champion = None if current is None else versions[need_number(versions, name, current)]
        files, scorer = load(name, number, Path(folder) / "candidate")
        cost = cost_of(files, scorer)
        scores = Scores(name, client, settings, logger, Path(folder))
        table = scores.stored(candidate) or scores.score(candidate, candidate, scorer)
        yardstick = scores.yardstick(candidate)
        champion_table, silent = None, ""
        if champion is not None:
            try:
                champion_table = scores.of_champion(champion, candidate, table)
            except UnloadableError as err:
                silent = f"the champion cannot be compared with: {first_line(err)}"
                if not force:
                    again = f"sentiflow promote {number} --dataset {dataset_of(name)} --force --reason"
                    raise ExternalError(silent[0].upper() + silent[1:], f'Replace it: {again} "..."') from err
        warning = scores.better_than(candidate, table, versions.values()) if champion is None else ""
        compared = [candidate] if champion is None else [candidate, champion]
        learnt = learnt_of(compared, table.review_id, client, store, Path(folder))
    reproduced = reproduction_of(candidate.tags)
    limits = Limits.of(settings)
    decision = gate.judge(table, champion_table, cost, limits, reproduced, silent, learnt, yardstick)
    return Candidate(name, number, why, candidate.run_id or "", current, decision, warning)


def cost_of(folder: Path, scorer: TextScorer) -> Cost:
    """Measure the size of a packaged model, and the time of a text of full length that is scored alone."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    known = cycle(scorer.vocabulary.words[:_COMMON])
    text = " ".join(islice(known, scorer.sequence_length))  # of full length
    scorer.score([text])  # warm-up
    seconds = timeit.repeat(lambda: scorer.score([text]), repeat=_TEXTS, number=1)
    return Cost(1_000 * statistics.median(seconds), size / 1e6)
