"""What labels win back when the texts change: ``python -m benchmarks.label_loop [--seeds 20]``.

Each seed is a world of its own. A model is trained on reviews of the sample's world, a table in a folder. Then
most of the words that judge are replaced by words that nobody has used before. Of a log of texts, before and after
that, 200 are drawn and labelled truly, and the monitor judges by them. Other samples of the changed texts become
tables of the folder. Trained on that from the champion, the model is measured on fresh texts and on the first
table's test split, and judged by the gate; so is one that learns from labels alone.
"""

import argparse
import random
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.machine import describe, log
from benchmarks.sample import BLAME, PRAISE, sample_rows
from sentiflow.base import model as base
from sentiflow.baselines import fit as fit_baseline
from sentiflow.data import reviews
from sentiflow.data.prepare import fetch, prepare
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import wilson
from sentiflow.monitoring.accuracy import Tested, interval, live_accuracy
from sentiflow.monitoring.labelling import csv_table
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.monitoring.sample import Sample, draw
from sentiflow.promotion.candidate import cost_of
from sentiflow.promotion.gate import AGAINST_BASELINE, OLD, Evidence, Group, judge
from sentiflow.scoring import LABEL_NAMES, TextScorer, is_positive
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.settings import Settings
from sentiflow.store.records import Version
from sentiflow.store.review import Label
from sentiflow.training.fitting import fit
from sentiflow.training.recipes import load_recipe

BASE, LOGGED, FRESH, DRAWN = 2_000, 5_000, 2_000, 200
LABELS, ALONE = (0, 100, 500, 2_000), (500, 2_000)
REPLACED = 0.75  # of the words that judge
RECIPE = load_recipe("fitted", ["ensemble_size=2"])  # of the default's eight: 20 seeds are 140 trainings
IN_USE = "texts in use | accuracy | alarms | intervals that hold it"
RULES = "`better` | `baseline` | `slice` of the first test | all rules"
TRAINED = f"trained with | changed texts | won back | first test | difference | {RULES}"

Rows = Sequence[tuple[str, int]]
Measured = dict[str, float]


@dataclass(frozen=True)
class Model:
    """A trained network, and the test split of its folder with the scores of network and baseline."""

    scorer: TextScorer
    tests: Rows
    table: ScoreTable
    simple: ScoreTable

    def accuracy(self, rows: Rows) -> float:
        texts, labels = zip(*rows, strict=True)
        return float((is_positive(self.scorer.score(texts)) == np.array(labels)).mean())


class World:
    """The texts of a seed, with their true labels, and a folder for what comes of them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder, self.rng = seed, folder, np.random.default_rng(seed)
        self.settings = Settings(_env_file=None, data_dir=folder / "data")
        rows = [(text, label) for text, label, _ in sample_rows(BASE + 2 * LOGGED + FRESH, 2, seed)][:-2]
        self.base, self.unchanged, strange = rows[:BASE], rows[BASE : BASE + LOGGED], strange_words(seed)
        changed = [
            (re.sub(r"\w+", lambda found: strange.get(found[0].lower(), found[0]), text), label)
            for text, label in rows[BASE + LOGGED :]
        ]
        self.changed, self.fresh = changed[:LOGGED], changed[LOGGED:]

    def train(self, name: str, rows: Rows, labelled: Sample | None, start: TextScorer | None) -> Model:
        """Train on a folder with these rows and a table of labels, as ``data --from-labels`` writes it."""
        folder = self.folder / name / "reviews"
        folder.mkdir(parents=True)
        table = [("text", "label"), *((text, LABEL_NAMES[label]) for text, label in rows)]
        (folder / "base.csv").write_text(csv_table(table))
        if labelled is not None:
            truth, named = dict(self.changed), labelled.names
            told = [(each.text, named[truth[each.text]], labelled.title, labelled.at) for each in labelled.texts]
            (folder / "labelled-1.csv").write_text(csv_table([("text", "label", "sample", "until"), *told]))
        return trained(folder, start, self.seed, self.settings)

    def sample(self, rows: Rows, scorer: TextScorer, size: int) -> Sample:
        """Draw from a log of these texts."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            texts = TextLog(Path(folder), 100_000_000)
            texts.append([Entry("2026-01-01T00:00:00", SERVED, "reviews", 1, 0.5, text) for text, _ in rows])
            return draw(texts, Version("reviews", 1, ""), scorer, size, (), self.rng)

    def in_use(self, rows: Rows, champion: Model) -> Measured:
        """What the monitor says of these texts by a sample with true labels."""
        sample, truth = self.sample(rows, champion.scorer, DRAWN), dict(rows)
        for each in sample.texts:
            each.trace = each.id
        told = [Label(each.trace, "anna", sample.names[truth[each.text]]) for each in sample.texts]
        accuracy, right = champion.accuracy(rows), champion.table.right
        tested = Tested(float(right.mean()), wilson(int(right.sum()), len(right))[0])
        live = live_accuracy(sample, told, tested, self.settings.monitor_drop)
        low, high = interval(live.value, live.doubt)  # on these texts alone
        return {"accuracy": accuracy, "alarm": live.dropped, "held": low <= accuracy <= high}

    def judged(self, candidate: Model, champion: Model) -> Measured:
        """Whether the gate lets a candidate replace the champion, and what three of its rules say."""
        old = replace(candidate.table, score=champion.scorer.score([text for text, _ in candidate.tests]))
        first, right = np.array([label for _, label in champion.tests]) == 1, champion.table.right
        kept = is_positive(candidate.scorer.score([text for text, _ in champion.tests])) == first
        with tempfile.TemporaryDirectory() as files:
            candidate.scorer.weights.save(Path(files) / "weights.npz")
            cost = cost_of(Path(files), candidate.scorer)
        limits, groups = self.settings, [Group(OLD, kept, right)]
        given = Evidence(candidate.table, old, cost, baseline=candidate.simple, groups=groups)
        decision = judge(given, limits)
        passed = {rule.name: rule.passed for rule in decision.rules}
        names = "better", AGAINST_BASELINE, f"slice {OLD}"
        return {name: passed[name] for name in names} | {"passed": decision.passed}


def strange_words(seed: int) -> dict[str, str]:
    """What is said in place of most of the words that praise or blame."""
    rng = random.Random(seed)
    chosen = [word for words in (PRAISE, BLAME) for word in rng.sample(words, round(REPLACED * len(words)))]
    return {word: f"{word[::-1]}o" for word in chosen}


def trained(folder: Path, start: TextScorer | None, seed: int, settings: Settings) -> Model:
    """Train on a folder by the default recipe, but for the number of networks."""
    from sentiflow.training.network.loop import train_from
    from sentiflow.training.network.model import weights_of

    table = prepare(fetch(str(folder), settings), settings).table
    content, words = reviews.read(table), reviews.read_vocabulary(table)
    config = fit(RECIPE, content, FIRST_WORD + len(words), started=start is not None)
    learnt, test = content.learning_splits(config.validation_fraction), content.of("test")
    network = train_from(start, words, *learnt, config, seed).network
    scorer, texts = TextScorer(weights_of(network), words, config.sequence_length), reviews.of_test(table, "text")
    tests = [(texts[name], label) for name, label in zip(test.review_id, test.label.tolist(), strict=True)]
    scores, simple = scorer.score([text for text, _ in tests]), fit_baseline(*learnt)
    scored = ScoreTable(test.review_id, test.label, scores, test.n_tokens, config.sequence_length)
    return Model(scorer, tests, scored, replace(scored, score=simple.score(test)))


def measure(seed: int, folder: Path) -> dict[str, Measured]:
    """What a seed finds, by what was done."""
    world = World(seed, folder)
    champion = world.train("champion", world.base, None, base.base().scorer)
    test, new_before = champion.tests, champion.accuracy(world.fresh)
    before, found = champion.accuracy(test), {"unchanged": world.in_use(world.unchanged, champion)}
    found["changed"] = world.in_use(world.changed, champion)
    ways = [(f"{n:,} labels", n, world.base, champion.scorer) for n in LABELS]
    for name, labels, rows, start in [*ways, *((f"{n:,} labels alone", n, test, None) for n in ALONE)]:
        sample = world.sample(world.changed, champion.scorer, labels) if labels else None
        model = world.train(name, rows, sample, start)
        new, old = model.accuracy(world.fresh), model.accuracy(test)
        measured = {"new": new, "won": new - new_before, "old": old, "kept": old - before}
        found[name] = measured | world.judged(model, champion)
    return found


def run(seeds: int) -> list[dict[str, Measured]]:
    found = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(seed, Path(folder)))
        log(f"seed {seed}: {found[-1]}")
    return found


def render(found: Sequence[dict[str, Measured]]) -> str:
    """Two tables in Markdown: the alarms, and what was won back."""
    lines, names = [], list(found[0])
    for head, rows in ((IN_USE, names[:2]), (TRAINED, names[2:])):
        lines += [f"| {head} |", f"|---|{'---:|' * head.count('|')}"]
        for name in rows:
            cells = [cell([each[name][key] for each in found]) for key in found[0][name]]
            lines.append(f"| {' | '.join([name, *cells])} |")
        lines.append("")
    return "\n".join([*lines, f"{len(found)} seeds. {describe()}."])


def cell(values: Sequence[float]) -> str:
    """How many hold, or the mean in points, with the 95% interval: Wilson's, or Student's."""
    count = len(values)
    if isinstance(values[0], bool):
        low, high = wilson(sum(values), count)
        return f"{sum(values)} of {count} ({low:.0%} to {high:.0%})"
    middle = np.mean(values)
    low, high = stats.t.interval(0.95, count - 1, middle, stats.sem(values))
    return f"{100 * middle:.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    log(render(run(parser.parse_args().seeds)))
