"""The report of one run."""

from collections.abc import Mapping
from dataclasses import asdict

from matplotlib.figure import Figure

from sentiment import plots
from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Markup, Picture, Report, Section, Table, Text, cells
from sentiment.reports.cost import cost
from sentiment.reports.errors import worst
from sentiment.reports.headline import headline
from sentiment.reports.parameters import all_of, changed
from sentiment.reports.pictures import strip
from sentiment.run_record import RunRecord
from sentiment.slices import LABELS, Slice

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
