"""Two versions on the logged texts: where their answers differ. Without labels that is no verdict."""

from dataclasses import dataclass, field

import numpy as np

from sentiflow.data.division import text_id
from sentiflow.errors import UsageError
from sentiflow.monitoring.log import need_log
from sentiflow.monitoring.sample import sampled_models, samples
from sentiflow.reports.blocks import Block, Heading, Legend, Report, Section, Table, Text
from sentiflow.reports.one_run import quote
from sentiflow.scoring import Attribution, is_positive
from sentiflow.settings import Settings
from sentiflow.store.find import load_scorer
from sentiflow.store.records import Version

_SHOWN = 20
_NO_VERDICT = (
    "This is no verdict: without labels nobody knows which answer is right. To know: sentiflow label, "
    "docs/labels.md"
)


@dataclass(frozen=True)
class Replay:
    """The different texts of a log, scored by two versions.

    Attributes:
        versions: like ``reviews-sentiment/3``.
        names: of the labels 0 and 1.
        answers: texts by the label of the first version and that of the second.
        moved: mean distance of the two scores.
        shown: the texts farthest apart whose answers differ, each read by both; texts of samples are left out.
    """

    versions: tuple[str, str]
    names: tuple[str, str]
    answers: list[list[int]]
    moved: float
    shown: list[tuple[str, Attribution, Attribution]] = field(repr=False)  # not for JSON

    @property
    def texts(self) -> int:
        return sum(map(sum, self.answers))

    @property
    def differ(self) -> int:
        return self.texts - self.answers[0][0] - self.answers[1][1]

    def report(self) -> Report:
        one, other = self.versions
        share = f"{self.differ:,} of {self.texts:,} texts of the log ({self.differ / self.texts:.2%})"
        heading = ("", *(f"{other}: {name}" for name in self.names))
        rows = [
            (f"{one}: {name}", *(f"{n:,}" for n in row))
            for name, row in zip(self.names, self.answers, strict=True)
        ]
        quotes: list[Block] = [Legend()] if self.shown else []
        for text, first, second in self.shown:
            quotes += [
                Heading(f"{first.score:.4f} by {one}, {second.score:.4f} by {other}"),
                quote(text, first, f"as read by {one}:"),
                quote(text, second, f"as read by {other}:"),
            ]
        lead = f"They differ on {share}; the scores by {self.moved:.4f} on average."
        return Report(
            f"{one} and {other} on the log",
            [Text(lead, strong=True), Text(_NO_VERDICT)],
            [
                Section("Answers", [Table(heading, rows)]),
                Section("Texts that are farthest apart", quotes, brief=False),
            ],
        )


def replay(one: Version, other: Version, settings: Settings) -> Replay:
    """Score the logged texts of the versions' models with both, each different text once."""
    log = need_log(settings)
    scorers = load_scorer(settings, one), load_scorer(settings, other)
    if scorers[0].label_names != scorers[1].label_names:
        known = (" and ".join(scorer.label_names) for scorer in scorers)
        raise UsageError(f"The versions know different labels: {'; '.join(known)}.", "Compare two of one dataset.")
    models = sorted({one.name, other.name})
    texts = list({entry.text: None for model in models for batch in log.after(model, 0) for entry in batch})
    if not texts:
        raise UsageError(f"The log has no text of {' or '.join(models)}.", "sentiflow serve and score log theirs.")
    scores = np.array([scorer.score(texts) for scorer in scorers])
    labels = is_positive(scores).astype(int)
    apart = np.where(labels[0] != labels[1], np.abs(scores[0] - scores[1]), 0)
    every = (sample for model in sampled_models(settings) for sample in samples(model, settings))
    sampled = {drawn.id for sample in every for drawn in sample.texts}
    order = (texts[row] for row in np.argsort(-apart, kind="stable") if apart[row] > 0)
    shown = [text for text in order if text_id(text) not in sampled][:_SHOWN]
    if not all(scorer.explains for scorer in scorers):  # what is shown is what each word did
        shown = []
    return Replay(
        (f"{one.name}/{one.number}", f"{other.name}/{other.number}"),
        scorers[0].label_names,
        np.bincount(2 * labels[0] + labels[1], minlength=4).reshape(2, 2).tolist(),
        float(np.abs(scores[0] - scores[1]).mean()),
        [(text, scorers[0].explain(text), scorers[1].explain(text)) for text in shown],
    )
