"""What ``sentiflow label`` does: draw a sample, exchange it, and delete a text everywhere."""

import csv
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiflow.console import Progress, no_progress
from sentiflow.data import reviews
from sentiflow.data.division import text_id
from sentiflow.data.inputs import open_input
from sentiflow.data.parquet import to_values
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.reviews import LABEL_SAMPLE, ORIGIN
from sentiflow.data.rows import NO_TEXT
from sentiflow.data.table import TableOptions, plain
from sentiflow.environment import expanded
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.files import empty_folder, leftovers, make_folder, publish, publish_private, read_csv
from sentiflow.locks import work_folder
from sentiflow.monitoring import sample as sampling
from sentiflow.monitoring.log import TextLog, check_folder, need_log
from sentiflow.monitoring.sample import Drawn, Sample, verdicts
from sentiflow.names import IMDB, dataset_of, model_name
from sentiflow.run.record import DIGEST, MONITOR
from sentiflow.settings import Settings
from sentiflow.store import review
from sentiflow.store.find import find_version, load_scorer, open_store
from sentiflow.store.records import QUOTED

_PATIENCE = 60.0  # seconds
_COLUMNS = ("id", "text", "label")  # alone: who labels does not see what the model said
_HINT = "Give a table with the columns id and label."
# Some programs skip what is blank before such a sign, and take its wide form for the same.
_FORMULA = re.compile(r"[\s\x00-\x1f\ufeff\u200b]*[=+\-@＝＋－＠]")


def new_sample(
    model: str, size: int, people: Sequence[str], settings: Settings, progress: Progress = no_progress
) -> Sample:
    """Draw a sample of the logged texts and open its review by these people."""
    log = need_log(settings)
    with sampling.alone(model, settings):
        version = find_version(settings, model, None)
        before, scorer = sampling.samples(model, settings), load_scorer(settings, version)
        sample = sampling.draw(log, version, scorer, size, before, np.random.default_rng())
        while not review.is_free(sample.title, settings):  # another data folder has it
            sample.number += 1
        with empty_folder(_work(model, settings)) as work:
            texts = [drawn.text for drawn in sample.texts]
            opened = review.open_queue(sample.title, sample.answers, texts, people, work, settings, progress)
        sample.experiment, sample.queue, traces = opened
        for drawn, trace in zip(sample.texts, traces, strict=True):
            drawn.trace = trace
        sampling.keep(sample, settings)
    return sample


def reviewed(model: str, settings: Settings) -> list[tuple[Sample, list[review.Label]]]:
    """The samples of a model and their labels, the oldest first.

    They are without the texts whose traces somebody deleted in MLflow, and so must not be kept.
    """
    found = []
    for sample in sampling.samples(model, settings):
        traces, labels = review.read(sample.title, sample.experiment, settings)
        sample.texts = [drawn for drawn in sample.texts if drawn.trace in traces]
        found.append((sample, labels))
    return found


def need_samples(model: str, settings: Settings) -> list[Sample]:
    """Those samples, or a UsageError where there is none."""
    samples = [sample for sample, _ in reviewed(model, settings)]
    if not samples:
        raise UsageError(
            f"There is no sample of {model} yet.", f"Draw one: sentiflow label --dataset {dataset_of(model)}"
        )
    return samples


def export(sample: Sample, file: Path) -> None:
    """Write the texts of a sample, with a column to fill in."""
    if file.suffix != ".csv":
        raise UsageError(f"{file} is no .csv file.", "Name one: --export texts.csv")
    texts = {drawn.id: drawn.text for drawn in sample.texts if drawn.text}
    rows = [(name, f"'{text}" if _FORMULA.match(text) else text, "") for name, text in texts.items()]
    publish_private(file, csv_table([_COLUMNS, *rows]).encode())


def csv_table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue()


def add_labels(file: Path, by: str, samples: Sequence[Sample], settings: Settings) -> tuple[Sample, int]:
    """Add what a person said in a file; gives of which sample, and of how many texts."""
    sample, given = read_labels(samples, file)
    labels = [review.Label(each.trace, by, given[each.id]) for each in sample.texts if each.id in given]
    review.add_labels(sample.title, sample.experiment, labels, settings)
    return sample, len(labels)


def read_labels(samples: Sequence[Sample], file: Path) -> tuple[Sample, dict[str, str]]:
    """What a file says of the texts of one of the samples, by their id; rows without a label are left out.

    Raises:
        UsageError: it cannot be read, or has no label, two labels of a text, or what the sample lacks.
    """
    rows = list(_labels_in(file))
    if not rows:
        raise UsageError(f"{file} has no label.", _HINT)
    holding = (each for each in samples if rows[0][1] in {drawn.id for drawn in each.texts})
    sample = next(holding, samples[-1])
    known, answers = {drawn.id for drawn in sample.texts}, {plain(name): name for name in sample.answers}
    given: dict[str, str] = {}
    for place, name, label in rows:
        answer = answers.get(plain(label), "")
        if name not in known:
            problem = f"{sample.title} has no text {name!r}"
        elif not answer:
            problem = f"unknown label {label!r}, expected {', '.join(sample.answers)}"
        elif given.setdefault(name, answer) != answer:
            problem = f"{name} has another label before"
        else:
            continue
        raise UsageError(f"{file}, {place}: {problem}.", "Correct that row, or take it out.")
    return sample, given


def _labels_in(file: Path) -> Iterator[tuple[str, str, str]]:
    """Place, id and label of each row of a table that has a label."""
    table = open_input(file)
    try:
        table.select("label", ["id"])
    except UsageError as err:
        raise UsageError(str(err.args[0]), _HINT) from err
    for chunk in table.chunks():
        for reject in chunk.rejects:
            if reject.reason != NO_TEXT:
                raise UsageError(f"{file}, line {reject.line}: {reject.reason}.", _HINT)
        names = to_values(chunk.columns.column(0))
        yield from ((f"line {line}", *row) for line, *row in zip(chunk.lines, names, chunk.texts, strict=True))


def _quoting(text: str, settings: Settings) -> list[str]:
    """Runs with reports that quote a text, or may: drift checks, and trainings on a table with it."""
    digests = {table.stem for table in reviews.holding(text, settings.data_dir)}
    return [
        f"{run.run_id[:8]} ({run.name})"
        for run in open_store(settings).runs()
        if text in run.tags.get(QUOTED, "") or (run.kind != MONITOR and run.tags.get(DIGEST) in digests)
    ]


def _find(name: str, model: str, settings: Settings) -> tuple[int, str]:
    """The number of the sample with a text, by the id of an export or by its trace, and the id."""
    every = sampling.samples(model, settings)
    for one in every:
        for each in one.texts:
            if name in (each.id, each.trace):
                return one.number, each.id
    hint = "Take the id of an export, or the trace of the page."
    raise UsageError(f"No sample of {model} has a text {name}.", hint)


def delete(name: str, model: str, settings: Settings) -> tuple[Sample, list[str]]:
    """Delete a text, by the id of an export or by its trace: from the log, the samples, the tables and MLflow.

    Deleted is, too, what was prepared of a dataset with it. Reports that quote it stay, and their runs are given:
    what is prepared here says which trainings these are, so they are looked for before it goes.

    A drift check, which may have read the text, is waited for, a minute at most.
    """
    log, (number, text) = need_log(settings), _find(name, model, settings)
    reports = _quoting(text, settings)
    # The model's own sample last: a killed deletion is found by it, and done again.
    for each in sorted(sampling.sampled_models(settings), key=lambda other: other == model):
        with check_folder(each, settings, _PATIENCE), sampling.alone(each, settings):
            for sample in sampling.samples(each, settings):
                if drawn := next((drawn for drawn in sample.texts if drawn.id == text), None):
                    _delete(drawn, sample, log, settings)
    return next(sample for sample in sampling.samples(model, settings) if sample.number == number), reports


def _delete(drawn: Drawn, sample: Sample, log: TextLog, settings: Settings) -> None:
    """Delete a text of a sample, which keeps the id until the store has lost the text, too."""
    log.delete(lambda logged: text_id(logged) == drawn.id)
    shutil.rmtree(_work(sample.model, settings), ignore_errors=True)  # of a killed draw
    reviews.forget(drawn.id, settings.data_dir)
    if drawn.text:
        _drop_row(sample, drawn.text)
        drawn.text = ""
        sampling.keep(sample, settings)
    review.delete(drawn.trace, sample.experiment, settings)
    sample.population[drawn.stratum] -= 1
    sample.texts.remove(drawn)
    sampling.keep(sample, settings)


def _work(model: str, settings: Settings) -> Path:
    """Where a text is on its way to MLflow."""
    return work_folder(f"{model}.label", settings)


def _drop_row(sample: Sample, text: str) -> None:
    """Take a text out of the tables that were made of its sample."""
    for file in map(Path, sample.tables):
        for leftover in leftovers(file):  # of a killed process
            leftover.unlink(missing_ok=True)
        if not file.exists():
            continue
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                if file.suffix == ".csv":
                    kept = csv_table(tuple(row) for row in read_csv(lines) if text not in row)
                else:
                    kept = "".join(line for line in lines if text not in json.loads(line).values())
        except (ValueError, AttributeError, csv.Error) as err:  # somebody has edited it
            hint = "Restore it, or remove it: sentiflow data --from-labels writes it again."
            raise ExternalError(f"{file} cannot be read: {first_line(err)}.", hint) from err
        publish_private(file, kept.encode())


def write_tables(dataset: str, options: TableOptions, settings: Settings) -> tuple[str, list[Path]]:
    """Write the labels that nobody contradicts into a dataset's folder, a table a sample, anew each time.

    For IMDB that is a folder of the data folder, with its reviews as texts beside the labels: new words need ids.

    Gives the dataset that they are part of, and the tables.
    """
    model = model_name(dataset)
    folder = settings.data_dir / "imdb-reviews" if dataset == IMDB else expanded(dataset)
    if dataset != IMDB and not folder.is_dir():
        raise UsageError(
            f"{dataset} is no folder: labels become a table beside others.",
            "Put your table into a folder, and name that: sentiflow data --dataset reviews/ --from-labels",
        )
    written = []
    with sampling.alone(model, settings):
        found = sampling.samples(model, settings)
        read = (review.read(each.title, each.experiment, settings)[1] for each in found)
        agreed = [verdicts(*each).unanimous for each in zip(found, read, strict=True)]
        if not any(agreed):
            raise UsageError(
                f"No text of {model} has a label yet.",
                f"Label some: sentiflow ui. Draw some: sentiflow label --dataset {dataset}",
            )
        if dataset == IMDB:
            _write_imdb(folder, settings)
        for sample, labels in zip(found, agreed, strict=True):
            # No CSV: a spreadsheet would run texts of strangers as formulas.
            file = folder.absolute() / f"labelled-{dataset_of(model)}-{sample.number}.jsonl"
            if labels:
                sample.tables = sorted({*sample.tables, str(file)})
                sampling.keep(sample, settings)  # first: it may be deleted
                publish_private(file, "".join(_rows(sample, labels, options)).encode())
                written.append(file)
            else:
                file.unlink(missing_ok=True)
            file.with_suffix(".csv").unlink(missing_ok=True)  # the same rows, as versions before 1.0 wrote them
    return str(folder) if dataset == IMDB else dataset, written


def _rows(sample: Sample, labels: Mapping[str, int], options: TableOptions) -> Iterator[str]:
    """The labelled texts of a sample as JSON Lines; labels are called as the dataset's options know them."""
    names = list(sample.names)
    for label, name in enumerate(sample.names):
        found = [each for each in (name, *name.split(" or ")) if plain(each) in options.known()]  # "4 or 5"
        found += [each for each, means in options.known(sample.names).items() if means == label]
        names[label] = found[0]
    for drawn in sample.texts:
        if drawn.trace in labels and drawn.text:
            row = {options.text_column: drawn.text, options.label_column: names[labels[drawn.trace]]}
            row |= {ORIGIN: LABEL_SAMPLE, "sample": sample.title, "until": sample.at}
            yield json.dumps(row, ensure_ascii=False) + "\n"


def _write_imdb(folder: Path, settings: Settings) -> None:
    """Write the reviews of IMDB as texts, once: lower case, without punctuation, as the dataset has them."""
    file = folder / "imdb.parquet"
    if file.exists():
        return
    table = prepare(fetch(IMDB, settings), settings).table
    content, words = reviews.read(table), reviews.read_vocabulary(table)
    columns = {
        "text": [words.decode(ids, unknown="") for ids in content.tokens],
        "label": content.label,
        "split": content.split,
    }
    make_folder(folder)
    publish(file, lambda path: pq.write_table(pa.table(columns), path))
