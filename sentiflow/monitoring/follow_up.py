"""What follows drift, or a drop of the accuracy: a training on what is new, or else texts for people to label."""

from dataclasses import dataclass
from shlex import quote

from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.table import TableOptions, as_options, options_of
from sentiflow.errors import UsageError, first_line
from sentiflow.monitoring.accuracy import verdicts
from sentiflow.monitoring.labelling import new_sample, reviewed
from sentiflow.names import BUILT_IN, dataset_of, model_name
from sentiflow.settings import PREFIX, Settings
from sentiflow.store import review
from sentiflow.store.find import find_run, find_version, need_versions, open_store, with_dataset

_TEXTS = 200  # to draw


@dataclass(frozen=True)
class FollowUp:
    """What to do, in a sentence; and the dataset to train on, empty where it has nothing new."""

    text: str
    dataset: str = ""


def follow_up(model: str, settings: Settings) -> FollowUp:
    """Look whether a model's dataset has something new; if not, name the page of a sample that waits for labels.

    A sample is drawn where none waits.
    """
    dataset = dataset_of(model)
    try:
        dataset, options = _source(model, settings)
        if _is_new(model, dataset, options, settings):
            return FollowUp(f"{dataset} has something new to train on.", dataset)
    except UsageError as err:  # it is on another machine, or has rows that nobody can train on
        unknown = f"Whether there is something new to train on is not known here: {first_line(err)}"
        return FollowUp(unknown, dataset)
    message, known = "Nothing new to train on.", reviewed(model, settings)
    newest, labels = known[-1] if known else (None, [])
    if newest is None or verdicts(newest, labels).texts == len(newest.texts):
        if newest and not newest.tables:
            rows = f"sentiflow data --dataset {quote(dataset)} --from-labels"
            message = f"{message} The labels of {newest.title} are no rows yet ({rows})."
        try:
            newest = new_sample(model, _TEXTS, (), settings)
        except UsageError as err:  # none is left
            return FollowUp(f"{message} Nothing new to label: {first_line(err)}")
    page = review.page_url(newest.experiment, newest.queue, settings)
    return FollowUp(f"{message} Label {newest.title}: {page}")


def _source(model: str, settings: Settings) -> tuple[str, TableOptions]:
    """Where a model's dataset is, and how it is read: by scheduled trainings, else by that of its version."""
    if model_name(settings.schedule_dataset) == model:
        return settings.schedule_dataset, as_options(settings.schedule_table, f"{PREFIX}SCHEDULE_TABLE")
    version = find_version(settings, model, None)
    params = find_run(open_store(settings), f"{model}/{version.number}").params
    return params.get("dataset", dataset_of(model)), options_of(params)


def _is_new(model: str, dataset: str, options: TableOptions, settings: Settings) -> bool:
    """Whether no version was trained on what the dataset holds now."""
    if dataset in BUILT_IN:
        return False
    store = open_store(settings)
    trained = (with_dataset(store, version) for version in need_versions(store, model).values())
    digest = prepare(fetch(dataset, settings, options=options), settings).digest
    return digest not in {version.tags.get("dataset.digest") for version in trained}
