"""A candidate: its scores and the champion's on the same test reviews, and its cost, judged by the gate."""

import json
import statistics
import tempfile
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, Self

from sentiflow.errors import ExternalError, RejectedError, UsageError, first_line
from sentiflow.evaluation.scores import BASELINE, ScoreTable
from sentiflow.names import dataset_of
from sentiflow.promotion import gate, scores
from sentiflow.promotion.gate import Cost, Decision, Evidence, Group, Names, judge
from sentiflow.promotion.history import Event, choose, decline_of, history_of, how_to_answer
from sentiflow.promotion.scores import Model, UnloadableError, load
from sentiflow.redaction import escape_markdown
from sentiflow.run.record import CAVEAT, TESTED_ON
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store.client import connect, tracking_errors
from sentiflow.store.find import champion_of, need_versions, open_store, reproduction_of, with_dataset
from sentiflow.store.records import SCORER_DIGEST, Store, VersionRecord, need_number

_BASELINE_IS_BETTER = (
    f"The baseline {BASELINE}, of words, pairs and triples, is better. What helps: more reviews, another "
    "start or seed, the recipe large (docs/baselines.md).\n"
)
_TEXTS = 30  # timed one by one
_COMMON = 50  # words of the vocabulary that such a text repeats
NO_REASON = "all checks passed"
Answer = Literal["passed", "approved", "forced", "refused", "declined", "waits"]


@dataclass(frozen=True)
class Candidate:
    """A version of a registered model that was judged, why it was chosen, and what came of it.

    The gate ``passed`` or ``refused`` it, or a person ``approved``, ``declined`` or ``forced`` it, or it ``waits``
    for one; the reason of a refusal is the rules that do not hold. The event is what made it champion.
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

    @property
    def promotes(self) -> bool:
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
        decision = self.decision
        outcome = "all checks passed" if decision.passed else f"**{escape_markdown(decision.refusal)}**"
        rules = [
            f"- {'passed' if rule.passed else '**failed**'}: *{rule.name}*, {escape_markdown(rule.text)}"
            for rule in decision.rules
        ]
        notes = [f"- {escape_markdown(note)}" for note in decision.notes]
        return "\n".join([f"**{escape_markdown(self.title)}**; {outcome}", "", *rules, *notes, ""])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{rule.outcome}</td><td>{escape(rule.name)}</td><td>{escape(rule.text)}</td></tr>"
            for rule in self.decision.rules
        )
        return f"<b>{escape(self.summary)}</b><table>{rows}</table>"

    @property
    def summary(self) -> str:
        version = f"{self.name} version {self.version}"
        if self.answer == "waits":
            return f"{version} is not in use yet. {how_to_answer(self.name, self.version)}"
        if self.event is None:
            declined = [rule.text for rule in self.decision.failures if rule.name == gate.DECLINE]
            refused = declined[0] if declined else self.decision.refusal
            no = f"declined by {self.by}: {self.reason}" if self.answer == "declined" else refused
            return f"{version} was not promoted: {no}"
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
            gate.AGAINST_BASELINE: _BASELINE_IS_BETTER,
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
    name: str, number: int | None, settings: Settings, *, force: bool = False, unattended: bool = False
) -> Candidate:
    """Compare a version of a model with the champion and the limits of the settings; changes nothing.

    Without a number ``choose`` does; ``unattended``, no person has asked for this number. With force, a champion
    that cannot score any more is a check that failed, else an error.
    """
    client, store, named = connect(settings), open_store(settings), number is not None and not unattended
    with tracking_errors(settings.tracking_uri), tempfile.TemporaryDirectory() as folder:
        model = Model(name, client, store, settings, Path(folder))
        found, current, number, why = choice_of(store, name, number, settings)
        versions = {key: with_dataset(store, version) for key, version in found.items()}
        candidate = versions[number]
        champion = None if current is None else versions[need_number(versions, name, current)]
        files, scorer = load(name, number, model.folder / "candidate")
        table = scores.stored(model, candidate) or scores.score(model, candidate, candidate, scorer)
        its = Champion() if champion is None else _champion(model, champion, candidate, scorer, table, force=force)
        learnt, unknown = scores.learnt_by_any(
            model, [candidate, *([champion] if champion else [])], table, candidate
        )
        recent, unseen = scores.texts_in_use(model, candidate, table)
        rows = candidate.tags.get(TESTED_ON)
        notes = *its.notes, *unknown, unseen, candidate.tags.get(CAVEAT), rows and f"Tested on {rows}."
        evidence = Evidence(
            table,
            its.table,
            cost_of(files, scorer),
            silent=its.silent,
            names=its.names,
            reproduced=reproduction_of(candidate.tags),
            learnt=learnt,
            baseline=scores.stored_baseline(model, candidate),
            recent=recent,
            groups=[*its.old, *scores.of_behaviour(settings, scorer, its.scorer)],
            declined=_declined(name, number, versions, scorer, settings),
            named=named,
            notes=list(dict.fromkeys(filter(None, notes))),
        )
    return Candidate(name, number, why, candidate.run_id or "", current, judge(evidence, settings))


def judged_before(name: str, version: VersionRecord) -> Candidate:
    """The candidate as its tags keep it: what is declined need not load or score any more."""
    against = version.tags["gate.against"].partition("version ")[2]
    decision = Decision.from_record(json.loads(version.tags["gate.record"]))
    champion = int(against) if against else None
    return Candidate(name, version.number, "", version.run_id or "", champion, decision)


@dataclass(frozen=True)
class Champion:
    """What a champion answers on the candidate's reviews and its own, and what scores a table of behaviour."""

    table: ScoreTable | None = None
    names: tuple[Names, Names] | None = None
    old: Sequence[Group] = ()
    notes: Sequence[str] = ()
    scorer: TextScorer | None = None
    silent: str = ""


def _champion(
    model: Model,
    champion: VersionRecord,
    candidate: VersionRecord,
    scorer: TextScorer,
    tested: ScoreTable,
    *,
    force: bool,
) -> Champion:
    """Ask the champion; one that cannot answer is silent with ``force``, else an error."""

    @cache
    def its() -> TextScorer:  # loaded if it is needed, and once
        return load(model.name, champion.number, model.folder / "champion")[1]

    try:
        table = scores.of_champion(model, champion, candidate, its, tested)
        old, notes = scores.of_old_reviews(model, champion, candidate, its, scorer, tested)
        names = None if scores.same_tests(champion, candidate) else (scorer.label_names, its().label_names)
        return Champion(table, names, old, notes, its() if model.settings.gate_behaviour else None)
    except UnloadableError as err:  # it is gone
        silent = f"the champion cannot be compared with: {first_line(err)}"
        if not force:
            again = f"sentiflow promote {candidate.number} --dataset {dataset_of(model.name)} --force --reason"
            raise ExternalError(silent[0].upper() + silent[1:], f'Replace it: {again} "..."') from err
        return Champion(silent=silent)
    except UsageError as err:  # others registered it
        if not force:
            raise
        return Champion(silent=first_line(err))


def _declined(
    name: str, number: int, versions: Mapping[int, VersionRecord], scorer: TextScorer, settings: Settings
) -> str:
    """The no of a person that stands. It counts for weights and words, which may be another version's, too."""
    equal = [key for key, each in versions.items() if scorer.has_digest(each.tags.get(SCORER_DIGEST))]
    no = decline_of(history_of(name, settings)[0], number, *equal)
    if no is None or no.version == number:
        return "" if no is None else no.said
    return f"version {no.version}, an equal one, was {no.said}"


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
