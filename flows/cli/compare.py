"""``sentiflow compare``."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.cli.compare_page import Page
from flows.cli.tables import plain, print_json
from sentiflow.console import Console
from sentiflow.errors import UsageError
from sentiflow.runs.comparison import Against, against, differing, figure, metric_names
from sentiflow.runs.record import TRIAL, RunRecord
from sentiflow.settings import load_settings
from sentiflow.tracking.store import child_runs, find_runs, open_store, score_table
from sentiflow.tracking.types import Store

_MAIN = ("test/", "val/", "model/", "time/train", "time/evaluate", "time/total", "train/kept_epoch")


def run(names: Sequence[str], *, everything: bool, as_json: bool) -> None:
    """Print runs side by side, and what their accuracies differ by: tables, or JSON for scripts."""
    store = open_store(load_settings())
    runs = _runs(store, names)
    with tempfile.TemporaryDirectory() as folder:
        first, *others = [(one, score_table(store, one, Path(folder))) for one in runs]
    held = [against(*other, *first) for other in others]
    metrics = metric_names(runs)
    shown = [name for name in metrics if everything or as_json or name.startswith(_MAIN)]
    console = Console()
    if as_json:
        print_json(console, _record(runs, shown, held))
        return
    Page(runs, console).show(shown, held)
    if hidden := len(metrics) - len(shown):
        console.print(f"\n[dim]{hidden} more metric{'s' if hidden > 1 else ''}: --all[/]")


def _runs(store: Store, names: Sequence[str]) -> list[RunRecord]:
    """The runs that are named; those that a parent stands for, if it alone is named.

    Raises:
        UsageError: there is nothing to compare with.
    """
    runs = find_runs(store, names)
    if len(runs) > 1:
        return runs
    below = child_runs(store, runs[0])
    scored = [one for one in below if one.kind != TRIAL]
    below = scored if len(scored) > 1 else below  # of a sweep its best recipe's seeds: trials see no test review
    if len(below) < 2:
        raise UsageError(
            f"{names[0]} alone has nothing to be compared with.",
            "Name two runs, or one that has others below it; see them with: sentiflow runs",
        )
    return below


def _record(runs: Sequence[RunRecord], metrics: Sequence[str], held: Sequence[Against]) -> dict[str, Any]:
    """The comparison for scripts."""
    return {
        "runs": [{"id": one.run_id, "name": one.name, "kind": one.kind, "status": one.status} for one in runs],
        "parameters": {name: list(values) for name, values in differing(runs).items()},
        "metrics": {name: [_plain(figure(one, name)) for one in runs] for name in metrics},
        "against_the_first": [
            {"id": one.run_id, **asdict(outcome)} for one, outcome in zip(runs[1:], held, strict=True)
        ],
    }


def _plain(found: Any) -> dict[str, Any] | None:
    return None if found is None else {key: plain(value) for key, value in asdict(found).items()}
