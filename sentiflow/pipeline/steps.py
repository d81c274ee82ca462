"""Fetch a dataset, prepare its canonical table, fit its baseline, train the network, evaluate it."""

import json
import logging
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sentiflow import baselines
from sentiflow.console import AT_THE_END, progress_bar
from sentiflow.data import division, reviews
from sentiflow.data import prepare as preparing
from sentiflow.data.prepare import Prepared, Source
from sentiflow.data.reviews import Reviews
from sentiflow.data.rows import count_left_out
from sentiflow.data.table import TableOptions
from sentiflow.errors import UsageError, first_line
from sentiflow.evaluation import neutral
from sentiflow.evaluation.metrics import Measured, at_chance, cross_entropy
from sentiflow.evaluation.scores import BASELINE, best_epoch
from sentiflow.names import BUILT_IN, in_hub
from sentiflow.reports.one_run import record_evaluation
from sentiflow.reproduction import Original, find_original, need_data
from sentiflow.run.record import CAVEAT, NEUTRAL, NEUTRAL_COUNTS, epoch_tags
from sentiflow.scoring import NGrams, Weights, is_positive
from sentiflow.scoring.ngrams import LONGEST
from sentiflow.settings import load_settings
from sentiflow.store.client import EpochLog
from sentiflow.store.records import SCORER_DIGEST
from sentiflow.training.context import RunContext, TrainedFiles, content_of, log_dataset, scorer_of, tested_on
from sentiflow.training.fitting import fitted_text
from sentiflow.training.learnt import by_texts_alone, learnt_in, write_learnt
from sentiflow.training.open_run import start_from_it
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import choose_and_fit, load_start

if TYPE_CHECKING:
    from sentiflow.training.network.loop import Trained

logger = logging.getLogger(__name__)


def fetch(run: RunContext, table: TableOptions) -> Source:
    """Fetch what is not here yet, verified; retries over the network are the download's own."""
    with run.timed("fetch"):
        source = preparing.fetch(run.dataset, run.settings, progress_bar, table)
    if source.fetched:
        logger.info("fetched %s, hash verified", ", ".join(file.name for file in source.files))
    else:
        logger.info(
            "nothing to download: %s is on this machine", in_hub(run.dataset)[1] or Path(source.origin).name
        )
    return source


def prepare(run: RunContext, source: Source) -> Prepared:
    """Make and check the canonical table, or find the one made before; it and its digest are logged on the run."""
    with run.timed("prepare"):
        prepared = preparing.prepare(source, run.settings)
    log_dataset(run, prepared)
    done = "decoded and checked" if prepared.made else "decoded and checked already"
    logger.info("%s, digest %s", done, prepared.digest[:12])
    if prepared.rejected:
        logger.warning("%s", prepared.rejected)
    if prepared.left_out:
        logger.info("%s", count_left_out(prepared.left_out))
    for sentence in (*prepared.joined.sentences(), content_of(prepared)) if prepared.joined else ():
        logger.info("%s", sentence)
    return prepared


def prepare_again(run: RunContext, original: Original) -> Prepared:
    """Find the table that another run was trained on."""
    with run.timed("prepare"):
        prepared = need_data(original, run.settings)
    log_dataset(run, prepared)
    return prepared


def check_original(called: str) -> Original:
    """Find a run, with the data that it was trained on: what is gone is named before the training."""
    settings = load_settings()
    original = find_original(called, settings)
    load_start(original.start, settings)
    need_data(original, settings)
    return original


def fit(run: RunContext, prepared: Prepared, start_from: str, searched: Collection[str] = ()) -> RunContext:
    """Choose what the training starts from, and fit the recipe to the table; gives the run as it goes on."""
    content, words = reviews.read(prepared.table), reviews.read_vocabulary(prepared.table)
    start, config = choose_and_fit(start_from, run.dataset, run.config, content, words, run.settings)
    if told := start.told(content):
        logger.warning("%s: these are left out of the test", told)
    if start.learnt is not None and (told := by_texts_alone(start.name, start.learnt)):
        logger.warning("%s", told)
    start = replace(start, new=start.count_new(content))
    run.params({name: getattr(config, name) for name in config.fit_to_table if name not in searched})
    if config.fit_to_table:
        logger.info("recipe %s chose for this table: %s", config.recipe, fitted_text(config))
    return start_from_it(replace(run, config=config), start)


def train(run: RunContext, prepared: Prepared, baseline: Path | None) -> TrainedFiles:
    """Train the recipe's network on the training split, and put the n-grams of the baseline's file beside it.

    Never retried: a failure here would only repeat.
    """
    config = run.config
    with run.timed("load"):
        # In this order: TensorFlow's import goes on in the background meanwhile.
        table = reviews.read(prepared.table)
        train_split, validation = table.learning_splits(config.validation_fraction)
        from sentiflow.training.network import model  # TensorFlow: only here
        from sentiflow.training.network.loop import train_from

    epochs = EpochLog(run, config.epochs)
    logger.info("%s", f"training on {len(train_split):,} reviews, validating on {len(validation):,}")
    for warning in division.warnings(prepared.table):
        logger.warning("%s", warning)
    weights, beside, mixed = None, None, None
    if run.build is not None:
        from sentiflow.training.network.own import train_own

        trained = train_own(
            run.build, train_split, validation, config, run.seed, run.work, epochs.add, progress_bar
        )
    else:
        start = load_start(run.start, run.settings)
        trained = train_from(
            start, reviews.read_vocabulary(prepared.table), train_split, validation, config, run.seed, epochs.add,
            progress_bar,
        )  # fmt: skip
    logger.info(_ending(trained, config))
    if run.build is None:
        model.weights_of(trained.network).save(weights := run.work / "trained-weights.npz")
        if config.ngrams and baseline is not None:
            trained, beside, mixed = _with_ngrams(trained, validation, config, baseline)
    ngrams = None
    if beside is not None:
        beside.save(ngrams := run.work / "trained-ngrams.npz")
    kept = trained.kept
    files = TrainedFiles(run.work / "model.keras", weights, ngrams, trained.history, kept)
    trained.network.save(files.keras)
    files = replace(files, neutral=_limits(run, prepared, files, validation, trained.chosen, mixed))
    epochs.end(kept)
    run.text(model.summary_of(trained.network), "model_summary.txt")
    if prepared.name not in BUILT_IN and run.start.learnt is not None:
        run.upload(write_learnt(learnt_in(table, run.start.learnt), run.work / "learnt"))
    run.tag_seconds({"train": trained.seconds})
    run.tag(epoch_tags(len(trained.history), kept.number if config.early_stopping_patience else None))
    return files


def _with_ngrams(
    trained: "Trained", validation: Reviews, config: TrainConfig, baseline: Path
) -> tuple["Trained", NGrams | None, NDArray[np.float64] | None]:
    """The network with n-grams beside it, and their validation scores; alone where these do not want n-grams."""
    from sentiflow.training.network import model

    fitted, _ = baselines.Fitted.load(baseline)
    network = trained.chosen or model.weights_of(trained.network)
    found = fitted.beside(network, config.sequence_length, validation)
    if found is None:
        logger.info("n-grams left out: beside the network they do not lower the validation loss beyond chance")
        return trained, None, None
    ngrams, mixed = found
    labels = validation.label[: len(mixed)]
    loss, accuracy = cross_entropy(labels, mixed), float((is_positive(mixed) == labels).mean())
    both = model.with_ngrams(trained.network, ngrams)
    told = f"{len(ngrams.keys):,} n-grams beside the network, whose log-odds count {ngrams.network:.2f} times"
    logger.info("%s: val loss %.4f instead of %.4f", told, loss, trained.kept.val_loss)
    kept = replace(trained.kept, val_loss=loss, val_accuracy=accuracy)
    return replace(trained, network=both, kept=kept), ngrams, mixed


def _limits(
    run: RunContext,
    prepared: Prepared,
    trained: TrainedFiles,
    validation: Reviews,
    chosen: Weights | None,
    mixed: NDArray[np.float64] | None,
) -> neutral.Limits | None:
    """Between which scores neutral is answered; None without neutral reviews to choose by and to test.

    Validation reviews have the scores ``mixed``, else those of weights which did not learn from them.
    """
    apart = reviews.neutral(prepared.table)
    choosing, tests = apart.of(reviews.BETWEEN_CHOICE), len(apart.of(reviews.BETWEEN_TEST))
    if not len(apart):
        return None
    if min(len(choosing), tests) < neutral.LEAST:
        told = f"{len(choosing):,} neutral texts to choose its limits by and {tests:,} to test them are too few"
        logger.warning("No third answer: %s", told)
        return None
    scorer = scorer_of(run, prepared, trained)
    if mixed is None:
        judged = scorer if chosen is None else replace(scorer, weights=chosen)
        mixed = judged.score_ids(validation.tokens)
    labels = validation.label[: len(mixed)]
    limits = neutral.choose_limits(labels, mixed, scorer.score_ids(choosing.tokens))
    logger.info("neutral as a third answer: scores above %.4f, up to %.4f", *limits)
    return limits


def _ending(trained: "Trained", config: TrainConfig) -> str:
    last, kept, best = trained.history[-1], trained.kept, best_epoch(trained.history)
    patient = f"no lower validation loss for {config.early_stopping_patience} epochs"
    why = "all epochs done" if last.number == config.epochs else patient
    missed = (
        "" if best is kept else f"; epoch {best.number} had a lower one ({best.val_loss:.4f}), and "
        "early_stopping_patience = 0 keeps the last"
    )  # fmt: skip
    again = f"; then trained anew for {kept.number} on the validation part, too" if config.final_training else ""
    return (
        f"{why}: kept epoch {kept.number} of {last.number}, val loss {kept.val_loss:.4f} "
        f"accuracy {kept.val_accuracy:.2%}{missed}{again}"
    )


def evaluate(run: RunContext, prepared: Prepared, trained: TrainedFiles, baseline: Path | None) -> Measured:
    """Score the test split once, by the scorer that is registered, beside the baseline's file of scores."""
    content = run.start.tested(reviews.read(prepared.table))
    scorer = scorer_of(run, prepared, trained)
    run.tag({SCORER_DIGEST: scorer.digest})
    with run.timed("evaluate"):
        texts = content.of("test").tokens
        with progress_bar("Evaluating", scorer.network.readings * len(texts)) as advance:
            began = time.perf_counter()
            scores = scorer.score_ids(texts, advance=advance)
            speed = len(scores) / (time.perf_counter() - began)
    extra = AT_THE_END if run.parent is None else {}
    chance = _at_chance(run, content, scores)
    if caveat := " ".join(filter(None, [chance, _near(run, content, scores)])):
        run.tag({CAVEAT: caveat})
        logger.warning("%s", caveat, extra=extra)
    if scorer.neutral is not None:
        test = content.of("test")
        apart = scorer.score_ids(reviews.neutral(prepared.table).of(reviews.BETWEEN_TEST).tokens)
        counts = neutral.confusion_of_three(scorer.neutral, test.label, scores, apart)
        cost = neutral.cost_of_three(counts)
        run.tag({NEUTRAL: cost, NEUTRAL_COUNTS: json.dumps(counts)})
        logger.info("%s", cost, extra=extra)
    theirs = None if baseline is None else np.load(baseline)["scores"]
    measured, against = record_evaluation(run, prepared, content, scorer, scores, speed, trained.history, theirs)
    logger.info("test accuracy %s", measured.text(content.label_names, tested_on(prepared)), extra=extra)
    if against is not None:
        logger.info("%s", against.text, extra=extra)
    return measured


def _near(run: RunContext, content: Reviews, scores: NDArray[np.float64]) -> str:
    """What to say of a test with many reviews that are nearly equal to learnt ones, and the accuracy on others."""
    if not (told := division.near_told(content)):
        return ""
    test = content.of("test")
    others = test.near == ""
    if not others.any():
        return f"{told}; there are no others."
    accuracy = float((is_positive(scores) == test.label)[others].mean())
    run.log({"test/accuracy_of_others": accuracy})
    return f"{told}; accuracy on the {others.sum():,} others: {accuracy:.2%}."


def _at_chance(run: RunContext, content: Reviews, scores: NDArray[np.float64]) -> str:
    """What to say of a network at chance, with the likely causes; empty for a better one."""
    test = content.of("test")
    learnt, optimizer, rate = len(content) - len(test), run.config.optimizer, run.config.learning_rate
    least, most = (0.05, 0.1) if optimizer == "sgd" else (0.0, 0.01)
    causes = [
        f"a learning_rate of {rate:g} is small for {optimizer}, which usually needs {least:g} or more"
        * (rate < least),
        f"a learning_rate of {rate:g} is large for {optimizer}" * (rate > most),
        f"{learnt:,} reviews are few to learn from without a trained start" * (learnt < 2_000 and not run.start),
        f"{len(test):,} test reviews are few to tell" * (len(test) < 100),
    ]
    likely = "; ".join(filter(None, causes))
    told = at_chance(test.label, scores)
    return f"{told} Likely cause: {likely}." if told and likely else told


def fit_baseline(run: RunContext, prepared: Prepared) -> Path | None:
    """Fit the baseline on the network's reviews; gives its file, with its test scores, or None if it cannot."""
    file = run.work / "baseline.npz"
    with run.timed("baseline"):
        content = reviews.read(prepared.table)
        learnt = content.learning_splits(run.config.validation_fraction)
        try:
            fitted = baselines.fit(*learnt, run.config.ngrams or LONGEST)
        except UsageError as err:  # a table of very few rows: its network is evaluated all the same
            logger.warning("No %s to compare with: %s", BASELINE, first_line(err))
            return None
        fitted.save(file, fitted.score(run.start.tested(content).of("test")))
    logger.info("%s: C %g, val loss %.4f", baselines.ABOUT, fitted.strength, fitted.val_loss)
    return file
