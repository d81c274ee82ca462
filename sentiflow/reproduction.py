"""A run trained again: what it was trained with, and whether the same came out."""

import re
from dataclasses import dataclass

from sentiflow.data.prepare import Prepared, fetch, find_kept, prepare
from sentiflow.data.table import TableOptions, options_of
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.results import Reproduction
from sentiflow.run.record import BUILD, RunRecord
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store.find import find_run, open_store
from sentiflow.store.records import REPRODUCED, REPRODUCED_DIGEST, SCORER_DIGEST
from sentiflow.training.context import RunContext
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
    if record.status != "FINISHED" or SCORER_DIGEST not in record.tags:
        problem = f"it is no finished training with weights to compare with ({record.kind})"
        raise UsageError(f"{record.name} cannot be reproduced: {problem}.", "Name one: sentiflow runs --children")
    params = record.params
    if BUILD in params:
        problem = f"{record.name} trained a model that the function {params[BUILD]} built, which no run keeps"
        raise UsageError(f"{problem}.", "Train it again in Python: sf.train(..., build=...)")
    try:
        fields = {name: params[name] for name in TrainConfig.model_fields if name in params}
        config = TrainConfig(**{"ngrams": 0, **fields})  # a run from before there were n-grams has none
        dataset, seed, table = params["dataset"], int(params["seed"]), options_of(params)
    except (KeyError, ValueError, SyntaxError) as err:
        problem = f"Today's code does not train with the parameters of {record.name}: {err}"
        commit = record.tags.get("git.commit", "unknown")
        raise UsageError(problem, f"Train it again with its own code, of the commit {commit}.") from err
    version = store.versions_by_run().get(record.run_id)
    return Original(record, config, seed, started(record, settings), dataset, table, version)


def need_data(original: Original, settings: Settings) -> Prepared:
    """The prepared data of a run; its dataset may give something else now."""
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
    return kept


def _short(value: str) -> str:
    """A digest by its beginning, anything else as it is."""
    return value[:12] if re.fullmatch("[0-9a-f]{64}", value) else value.removesuffix(".")


def compared(run: RunContext, scorer: TextScorer, original: Original) -> Reproduction:
    """Compare what was trained now with what came out then; each version of the original says how it went."""
    digest = original.record.tags[SCORER_DIGEST]
    result = Reproduction(
        run.run_id, run.name, run.url,
        original=original.record.run_id,
        called=original.version or original.record.name,
        identical=scorer.has_digest(digest),
    )  # fmt: skip
    name = run.model_name
    tags = {REPRODUCED_DIGEST: digest, REPRODUCED: result.verdict}  # last: a reader that sees it finds the other
    for version in open_store(run.settings).versions(name):
        if version.run_id == original.record.run_id:
            for key, value in tags.items():
                run.client.set_model_version_tag(name, str(version.number), key, value)
    return result
