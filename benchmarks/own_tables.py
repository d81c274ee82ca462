"""Measure the default on other people's tables: ``python -m benchmarks.own_tables FOLDER``.

The folder holds tables of ``benchmarks.corpora``, columns ``text`` and ``label``. Each is trained with five seeds
by the recipe ``fitted``, as by default and from nothing. TF-IDF and nb-ngrams learn the same training split: C is
chosen on its validation part, then they are fitted to all of it. What was measured is kept in FOLDER/results/, so
that a run that was ended goes on; ``--write`` puts all of it into docs/own-tables.md.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from benchmarks.baselines import STRENGTHS, counts
from benchmarks.machine import describe, log
from benchmarks.table import put_into
from sentiflow.baselines import fit as fit_baseline
from sentiflow.data import reviews
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.reviews import Reviews
from sentiflow.evaluation.metrics import cross_entropy
from sentiflow.evaluation.statistics import compare, format_interval
from sentiflow.names import AUTO, NONE
from sentiflow.scoring import TextScorer, Vocabulary, is_positive
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.settings import Settings, load_settings, project_root
from sentiflow.training.fitting import fit
from sentiflow.training.recipes import FITTED
from sentiflow.training.start_from import choose_start, load_start

SEEDS = 5
PAGE = project_root() / "docs" / "own-tables.md"
MARKS = "<!-- benchmarks.own_tables writes from here -->", "<!-- to here, the tables -->"
Right = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    results = given.folder / "results"
    results.mkdir(exist_ok=True)
    settings = load_settings()
    tables = sorted(given.folder.glob("*.csv"), key=lambda path: path.stat().st_size)
    for asked in (AUTO, NONE):  # all tables as by default, then from nothing, which takes longer
        for table in tables:
            kept = results / f"{table.stem}.{asked}.json"
            if not kept.exists() and (not given.only or table.stem in given.only):
                kept.write_text(json.dumps(found := measure(table, asked, settings)))
                log(f"{kept.stem}: {found}")
    if given.write:
        put_into(PAGE, render([_read(path) for path in sorted(results.glob(f"*.{AUTO}.json"))]), *MARKS)


def _read(path: Path) -> dict[str, Any]:
    name = path.name.removesuffix(f".{AUTO}.json")
    other = path.with_name(f"{name}.{NONE}.json")
    scratch = json.loads(other.read_text())["accuracies"] if other.exists() else []
    return json.loads(path.read_text()) | {"name": name, "scratch": scratch}


def measure(table: Path, asked: str, settings: Settings) -> dict[str, Any]:
    """Five trainings on a table, and the baselines beside them; accuracies on its test split."""
    prepared = prepare(fetch(str(table), settings), settings)
    content, words = reviews.read(prepared.table), reviews.read_vocabulary(prepared.table)
    start = choose_start(asked, str(table), FITTED, content, words, settings)
    runs = [_train(content, words, load_start(start, settings), seed) for seed in range(SEEDS)]
    networks, seconds = zip(*runs, strict=True)
    found = _facts(content) | {"start": start.name, "words": start.words, "seconds": float(np.median(seconds))}
    found["accuracies"] = [float(each.mean()) for each in networks]
    for name, simple in (("tfidf", _tfidf(content)), ("nb-ngrams", _nb_bigrams(content))):
        differences = [compare(each, simple) for each in networks]
        ends = [
            float(np.mean([getattr(each, end) for each in differences])) for end in ("difference", "low", "high")
        ]
        found |= {name: float(simple.mean()), f"to {name}": ends}
    return found


def _facts(content: Reviews) -> dict[str, Any]:
    share = float(content.label.mean())
    return {
        "rows": len(content),
        "majority": max(share, 1 - share),
        "median words": int(np.median(content.n_tokens)) - 1,
        "test": int((content.split == "test").sum()),
    }


def _train(content: Reviews, words: Vocabulary, start: TextScorer | None, seed: int) -> tuple[Right, float]:
    """Which test reviews one training gets right, and its seconds."""
    from sentiflow.training.network.loop import train_from
    from sentiflow.training.network.model import weights_of

    began = time.perf_counter()
    config = fit(FITTED, content, FIRST_WORD + len(words), started=start is not None)
    training, validation = content.learning_splits(config.validation_fraction)
    fitted = fit_baseline(training, validation)
    trained = train_from(start, words, training, validation, config, seed)
    weights = weights_of(trained.network)
    found = fitted.beside(trained.chosen or weights, config.sequence_length, validation)
    seconds = time.perf_counter() - began
    scorer = TextScorer(weights, words, config.sequence_length, ngrams=None if found is None else found[0])
    test = content.of("test")
    scores = scorer.score_ids(test.tokens)
    return is_positive(scores) == (test.label == 1), seconds


def _tfidf(content: Reviews) -> Right:
    """All words of the training split, whole texts."""
    whole = FITTED.model_copy(
        update={
            "vocabulary_size": 1 + max(int(ids.max(initial=0)) for ids in content.tokens),
            "sequence_length": int(content.n_tokens.max()),
        }
    )
    learnt, validation = content.learning_splits(FITTED.validation_fraction)
    tried = []
    for strength in STRENGTHS:
        tfidf, model = _fit_tfidf(learnt, strength, whole)
        scores = model.predict_proba(tfidf.transform(counts(validation, whole)))[:, 1]
        tried.append((cross_entropy(validation.label, scores), strength))
    tfidf, model = _fit_tfidf(learnt.joined(validation), min(tried)[1], whole)
    test = content.of("test")
    found: Right = model.predict(tfidf.transform(counts(test, whole))) == test.label
    return found


def _fit_tfidf(learnt: Reviews, strength: float, whole: Any) -> tuple[TfidfTransformer, LogisticRegression]:
    tfidf = TfidfTransformer(sublinear_tf=True)
    rows = tfidf.fit_transform(counts(learnt, whole))
    return tfidf, LogisticRegression(C=strength, max_iter=1_000).fit(rows, learnt.label)


def _nb_bigrams(content: Reviews) -> Right:
    learnt, validation = content.learning_splits(FITTED.validation_fraction)
    test = content.of("test")
    scores = fit_baseline(learnt, validation).score(test)
    found: Right = is_positive(scores) == (test.label == 1)
    return found


def render(found: list[dict[str, Any]]) -> str:
    """The table in Markdown, the smallest first."""
    lines = [
        "| table | rows | words | commoner label | starts from | default (5 seeds) | from nothing "
        "| TF-IDF | nb-ngrams | default to TF-IDF (95% interval) | default to nb-ngrams (95% interval) |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in sorted(found, key=lambda one: one["rows"]):
        cells = [
            each["name"], f"{each['rows']:,}", str(each["median words"]), f"{each['majority']:.0%}",
            f"{each['start']} ({each['words']:.0%})" if each["start"] != NONE else "nothing",
            _spread(each["accuracies"]), _spread(each["scratch"] if each["start"] != NONE else each["accuracies"]),
            f"{each['tfidf']:.1%}", f"{each['nb-ngrams']:.1%}", _against(each["to tfidf"]),
            _against(each["to nb-ngrams"]),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{describe()}."])


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})" if values else "-"


def _against(difference: list[float]) -> str:
    mean, low, high = difference
    return f"{100 * mean:+.1f} ({format_interval(low, high)})"


if __name__ == "__main__":
    main()
