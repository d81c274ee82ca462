"""A run trained again: what it was trained with and what differs now, and whether the same came out."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sentiflow.data.prepare import Prepared, fetch, find_kept, prepare
from sentiflow.data.table import TableOptions, options_of
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.results import Reproduction
from sentiflow.runs import RunRecord
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store import HIDDEN, REPRODUCED, REPRODUCED_DIGEST, SCORER_DIGEST
from sentiflow.store.find import SCORES, find_run, open_store, score_table
from sentiflow.training.context import RunContext
from sentiflow.training.provenance import provenance_tags
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import Start, started


@dataclass(frozen=True)
class Original:
    """A run that is to be trained again, and the version that it made, like ``imdb-sentiment/3``, or None."""

    record: RunRecord
    config: TrainConfig
    seed: int
    start: Start
    dataset: str
    table: TableOptions
    version: str | None


def find_original(called: str, settings: Settings) -> Original:
    """Find the run that a user means, with all that it needs to be trained again and compared."""
    store = open_store(settings)
    record = find_run(store, called)
    with tempfile.TemporaryDirectory() as folder:
        has_scores = store.file(record, SCORES, Path(folder)) is not None
    if record.status != "FINISHED" or SCORER_DIGEST not in record.tags or not has_scores:
        problem = f"it is no finished training with weights and scores to compare with ({record.kind})"
        raise UsageError(f"{record.name} cannot be reproduced: {problem}.", "Name one: sentiflow runs --children")
    params = record.params
    try:
        config = TrainConfig(**{name: params[name] for name in TrainConfig.model_fields if name in params})
        dataset, seed, table = params["dataset"], int(params["seed"]), options_of(params)
    except (KeyError, ValueError, SyntaxError) as err:
        problem = f"Today's code does not train with the parameters of {record.name}: {err}"
        commit = record.tags.get("git.commit", "unknown")
        raise UsageError(problem, f"Train it again with its own code, of the commit {commit}.") from err
    version = store.versions_by_run().get(record.run_id)
    return Original(record, config, seed, started(record), dataset, table, version)


def need_data(original: Original, settings: Settings) -> tuple[Prepared, str]:
    """The prepared data of a run, and the digest of what its dataset gives now, or why it gives nothing."""
    try:
        source = fetch(original.dataset, settings, options=original.table)
        now = prepare(source, settings).digest
    except (UsageError, ExternalError, OSError) as err:
        now = first_line(err)
    digest = str(original.record.digest)
    kept = find_kept(original.dataset, digest, settings, original.table)
    if kept is None:
        raise ExternalError(
            f"The data of {original.record.name} cannot be had: its digest is {digest[:12]}; what "
            f"{original.dataset} gives now: {_short(now)}.",
            "Put back what it was read from, or reproduce it with the data folder (SENTIFLOW_DATA_DIR) it used.",
        )
    return kept, now


# What decides a training, besides the recipe, the seed and what it starts from, and the tags of it.
_DECIDES = {
    "code": f"{HIDDEN}code.digest", "lock": f"{HIDDEN}lock.digest", "packages": f"{HIDDEN}packages.digest",
    "data": "dataset.digest", "processor": "processor", "threads": "threads",
}  # fmt: skip


def differences(original: Original, data: str) -> list[str]:
    """What decided a run's training and is otherwise here and now, a line each; ``data`` as of ``need_data``."""
    then, now = original.record.tags, provenance_tags() | {"dataset.digest": data}
    found = ((what, then.get(tag, "unknown"), now[tag]) for what, tag in _DECIDES.items())
    return [f"{what}: {_short(old)} then, now {_short(new)}" for what, old, new in found if old != new]


def _short(value: str) -> str:
    """A digest by its beginning, anything else as it is."""
    return value[:12] if re.fullmatch("[0-9a-f]{64}", value) else value.removesuffix(".")


def compared(run: RunContext, scorer: TextScorer, original: Original, found: Sequence[str]) -> Reproduction:
    with tempfile.TemporaryDirectory() as folder:
        then = score_table(open_store(run.settings), original.record, Path(folder))
    if then is None:
        raise ExternalError(f"The test scores of {original.record.name} are gone.", "Reproduce another run.")
    now = run.scores()
    then = then.in_order_of(now)
    return Reproduction(
        run.run_id, run.name, run.url,
        original=original.record.run_id,
        called=original.version or original.record.name,
        same_weights=scorer.digest == original.record.tags[SCORER_DIGEST],
        score_change=float(np.abs(now.score - then.score).max()),
        accuracy=float(now.right.mean()),
        accuracy_then=float(then.right.mean()),
        differences=tuple(found),
    )  # fmt: skip


def tag_versions(run: RunContext, original: Original, verdict: str) -> None:
    """Say on each version of the original how it went, bound to the weights that it was trained to."""
    name = run.model_name
    tags = {
        "reproduced.at": datetime.now(UTC).isoformat(timespec="seconds"),
        "reproduced.run": run.run_id,
        REPRODUCED_DIGEST: original.record.tags[SCORER_DIGEST],
        REPRODUCED: verdict,  # last: a reader that sees it finds the others
    }
    for version in open_store(run.settings).versions(name):
        if version.run_id == original.record.run_id:
            for key, value in tags.items():
                run.client.set_model_version_tag(name, str(version.number), key, value)
