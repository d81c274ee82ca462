"""The report of one run."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from matplotlib.figure import Figure

from sentiflow.evaluation.metrics import LABELS, Slice
from sentiflow.recipes import RECIPES, TUTORIAL, TrainConfig
from sentiflow.reports import explanation, plots
from sentiflow.reports.page import Block, Markup, Picture, Report, Section, Table, Text, cells, strip
from sentiflow.reports.summary import Account, Miss, headline, word_of, worst_rows
from sentiflow.runs.comparison import differing
from sentiflow.runs.record import RunRecord

STAGES = ("startup", "open", "fetch", "prepare", "load", "train", "evaluate", "report", "register")
"""Into which the time of a run is divided: metrics ``time/<stage>``; with ``other`` they sum up to ``total``."""


def cost(account: Account) -> list[Block]:
    """What one run cost; nothing when it does not say."""
    rows = _rows([account])
    return [Table(("what", "cost"), rows)] if rows else []


def costs(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """What several runs cost, side by side."""
    rows = _rows(accounts)
    return [Table(("what", *labels), rows)] if rows else []


def _rows(accounts: Sequence[Account]) -> list[tuple[str, ...]]:
    times = [(f"{name}, seconds", _seconds(name)) for name in (*STAGES, "other", "total")]
    other: list[tuple[str, Callable[[Account], str]]] = [
        ("training, reviews a second", lambda account: cells(_thousands, account.trained_per_second)),
        ("scoring, reviews a second", lambda account: cells(_thousands, account.scored_per_second)),
        ("trained parameters", lambda account: cells(_thousands, account.parameters)),
    ]
    rows = [(name, *(show(account) for account in accounts)) for name, show in [*times, *other]]
    return [row for row in rows if set(row[1:]) != {"-"}]


def _seconds(stage: str) -> Callable[[Account], str]:
    return lambda account: cells(lambda value: f"{value:.1f}", account.metrics.get(f"time/{stage}"))


def _thousands(value: float) -> str:
    return f"{value:,.0f}"


def changed(params: Mapping[str, str]) -> list[Block]:
    """Fields of a run's recipe that are not as in the recipe of that name, or in ``tutorial``."""
    name = params.get("recipe")
    given = [field for field in TrainConfig.model_fields if field in params and field != "recipe"]
    if name is None or not given:
        return []
    base = RECIPES.get(name)
    others = {name: base} if base is not None and base != TUTORIAL else {}
    columns = [_as_logged(one) for one in (*others.values(), TUTORIAL)]
    rows = [
        (field, params[field], *(column[field] for column in columns))
        for field in given
        if any(params[field] != column[field] for column in columns)
    ]
    if not rows:
        return [Text("None: the recipe is seed, as it stands.")]
    return [Table(("field", "this run", *others, "tutorial"), rows, words=1)]


def _as_logged(config: TrainConfig) -> dict[str, str]:
    return {field: str(value) for field, value in config.model_dump().items()}


def side_by_side(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """Parameters that are not the same in all runs."""
    found = differing([account.record for account in accounts])
    if not found:
        return [Text("None: all runs were given the same.")]
    rows = [(name, *("-" if value is None else value for value in row)) for name, row in found.items()]
    return [Table(("parameter", *labels), rows)]


def all_of(account: Account) -> list[Block]:
    """Everything that the run says of itself."""
    record = account.record
    facts = {
        "run id": record.run_id,
        "status": record.status,
        "started": f"{record.started:%Y-%m-%d %H:%M:%S %Z}",
        "registered as": account.version or "-",
        "git commit": record.tags.get("git.commit", "-"),
        "tree dirty": record.tags.get("git.dirty", "-"),
        "started by": record.tags.get("started_by", "-"),
    }
    epoch = account.metrics.get("train/kept_epoch")
    facts["weights of epoch"] = cells(lambda value: f"{value:.0f}", epoch)
    return [Table(("fact", "value"), [*facts.items(), *account.facts.items(), *record.params.items()], words=2)]


_CHARACTERS = 1_200  # of a text that nothing reads word by word


def worst(account: Account) -> list[Block]:
    """The worst errors of a run: with readings, else as texts, else as a list of their names."""
    misses = account.misses
    if misses is None:
        return _names(account)
    if not misses:
        return [Text("None: no test review is labelled wrongly.")]
    legend = explanation.LEGEND if account.scorer else ""
    told = (f"<h3>{html.escape(miss.heading)}</h3>{quote(miss)}" for miss in misses)
    return [Markup(legend + "".join(told))]


def quote(miss: Miss) -> str:
    """A review with its reading where there is one."""
    if miss.reading is None:
        return f"<blockquote>{html.escape(_cut(miss.text))}</blockquote>"
    return f"<blockquote>{explanation.fragment(miss.reading)}</blockquote>"


def _names(account: Account) -> list[Block]:
    table = account.table
    if table is None:
        return []
    rows = [
        (str(table.review_id[row]), word_of(table.label[row]), f"{table.score[row]:.4f}")
        for row in worst_rows(table.label, table.score)
    ]
    return [Table(("review", "label", "score"), rows, words=2)]


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS].rstrip()} ..."


_MEANINGS = {
    "accuracy": "fraction of right labels",
    "accuracy_low": "lower end of its 95% interval",
    "accuracy_high": "upper end",
    "loss": "binary cross-entropy in nats",
    "f1": "of the positive reviews",
    "auc": "area under the ROC curve",
    "brier": "mean squared difference of score and label",
}
_ENDED = {"RUNNING": "is still running", "FAILED": "failed", "KILLED": "was killed", "FINISHED": "trained nothing"}
_EPOCHS = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
_ALT = {
    "learning_curves": "Loss and accuracy of training and validation over the epochs",
    "confusion_matrix": "Counts of true against predicted labels",
    "roc_curve": "True against false positive rate over all thresholds",
    "reliability_curve": "Share of positive reviews over the score, and how many reviews have such a score",
    "review_lengths": "Lengths of reviews, and where they are cut",
}


def report(account: Account, figures: Mapping[str, Figure] | None = None) -> Report:
    """Tell of one run.

    Args:
        account: of it.
        figures: its pictures, if they are drawn already.
    """
    drawn = pictures(account) if figures is None else figures
    sections = [
        Section("Test split", _figures(account)),
        Section("Learning curves", _curves(account, drawn), brief=False),
        Section("Slices", _slices(account)),
        Section("Calibration", _calibration(account, drawn)),
        Section("Cost", cost(account)),
        Section("Parameters that differ", changed(account.record.params)),
        Section("Worst errors", worst(account), brief=False),
        Section("Data", _drawn(drawn, "review_lengths"), brief=False),
        Section("Run", all_of(account), brief=False),
        Section("What could not be had", [Text(told) for told in account.missing]),
    ]
    return Report(account.record.name, [Text(lead(account), strong=True)], [s for s in sections if s.blocks])


def lead(account: Account) -> str:
    """The outcome of a run in a sentence."""
    if account.measured is None:
        return _without_test(account.record)
    told = headline(account.measured)
    return f"{told[0].upper()}{told[1:]}."


def pictures(account: Account) -> dict[str, Figure]:
    """The pictures of a run, by name; none without what they show."""
    lengths = None if account.tested is None else account.tested.train_lengths
    if account.table is not None and account.measured is not None:
        return plots.of_run(account.curves, account.table, account.measured, lengths)
    return {"learning_curves": plots.learning_curves(account.curves)} if account.curves.get("val/loss") else {}


def _without_test(record: RunRecord) -> str:
    loss = record.metrics.get("val/best_loss")
    if loss is not None and record.status == "FINISHED":
        return f"Lowest validation loss {loss:.4f}; the test split was not scored."
    end = record.tags.get("end")
    return f"No test figures: the run {_ENDED.get(record.status, 'ended')}{f': {end}' if end else ''}."


def _figures(account: Account) -> list[Block]:
    if account.measured is None:
        return []
    values = asdict(account.measured)
    rows = [(name.replace("_", " "), told, f"{values[name]:.4f}") for name, told in _MEANINGS.items()]
    rows.append(("validation loss", "of the weights that were kept", _four(account.validation_loss)))
    return [Table(("figure", "meaning", "value"), rows, words=2)]


def _curves(account: Account, drawn: Mapping[str, Figure]) -> list[Block]:
    if not account.curves.get("val/loss"):
        return []
    epochs = sorted({epoch for name in _EPOCHS for epoch, _ in account.curves.get(name, ())})
    by_name = {name: dict(account.curves.get(name, ())) for name in _EPOCHS}
    kept = account.metrics.get("train/kept_epoch")
    rows = [
        (
            f"{epoch}{' (kept)' if epoch == kept else ''}",
            *(_four(by_name[name].get(epoch)) for name in _EPOCHS),
        )
        for epoch in epochs
    ]
    heading = ("epoch", "training loss", "training accuracy", "validation loss", "validation accuracy")
    return [*_drawn(drawn, "learning_curves"), Table(heading, rows)]


def _slices(account: Account) -> list[Block]:
    if not account.slices:
        return []
    left = min(each.low for each in account.slices)
    right = max(each.high for each in account.slices)
    bars = [strip(each.low, each.accuracy, each.high, left, right) for each in account.slices]
    told = "Intervals are at 95%. Quarters are of the test split, by length in ids or by share of unknown words."
    heading = ("slice", "reviews", "accuracy", "from", "to")
    return [Table(heading, [_slice_row(each) for each in account.slices], bars=bars), Text(told)]


def _slice_row(each: Slice) -> tuple[str, ...]:
    return (LABELS[each.name], f"{each.reviews:,}", *(f"{v:.2%}" for v in (each.accuracy, each.low, each.high)))


def _calibration(account: Account, drawn: Mapping[str, Figure]) -> list[Block]:
    if account.measured is None:
        return []
    rows = [
        ("expected calibration error", "mean distance of score and share, over ten bins", _four(account.ece)),
        ("Brier score", "0 is perfect; 0.25 is what a constant 0.5 gets", _four(account.measured.brier)),
    ]
    table = Table(("figure", "meaning", "value"), rows, words=2)
    side = _drawn(drawn, "reliability_curve", "confusion_matrix", "roc_curve")
    return [table, Markup('<div class="side">'), *side, Markup("</div>")] if side else [table]


def _four(value: float | None) -> str:
    return cells(lambda number: f"{number:.4f}", value)


def _drawn(drawn: Mapping[str, Figure], *names: str) -> list[Block]:
    return [Picture(drawn[name], _ALT[name]) for name in names if name in drawn]
