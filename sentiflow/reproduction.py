"""A run trained again: what it was trained with and what differs now, and whether the same came out."""

import re
import tempfile
from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sentiflow.console import Logger, Progress, no_progress
from sentiflow.data.prepare import Prepared, fetch, find_kept, prepare
from sentiflow.data.table import TableOptions
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.evaluation.score_table import ScoreTable
from sentiflow.evaluation.statistics import compare
from sentiflow.output import redact
from sentiflow.recipes import RECIPES, TrainConfig
from sentiflow.results import Reproduction
from sentiflow.runs.record import RunRecord
from sentiflow.scoring import TextScorer, Weights
from sentiflow.settings import Settings
from sentiflow.tracking.checkout import PATCH
from sentiflow.tracking.context import RunContext
from sentiflow.tracking.provenance import (
    LOCK,
    PACKAGES,
    SHOWN,
    SOURCES,
    digest_of,
    packages,
    provenance_tags,
    sources,
)
from sentiflow.tracking.starts import Start, started
from sentiflow.tracking.store import PARENTS, SCORES, find_run, open_store, score_table
from sentiflow.tracking.types import REPRODUCED, REPRODUCED_DIGEST, SCORER_DIGEST, Store, local_path

_NUMERIC = ("tensorflow", "keras", "numba", "numpy", "scipy", "pandas", "scikit_learn")  # shown first


@dataclass(frozen=True)
class Original:
    """A run that is to be trained again.

    Attributes:
        dataset: as its training was given it, a table by its path.
        table: how that table was read.
        data, weights: digests of the prepared dataset, and of all that its scores depend on.
        version: the registered version that it made, like ``imdb-sentiment/3``, or None.
        sources, packages: of the run, as ``sources`` and ``packages`` give them; None if it keeps none.
    """

    record: RunRecord
    config: TrainConfig
    seed: int
    start: Start
    dataset: str
    table: TableOptions
    data: str
    weights: str
    version: str | None
    sources: str | None
    packages: str | None


def find_original(called: str, settings: Settings) -> Original:
    """Find the run that a user means, with all that it needs to be trained again and compared.

    Raises:
        UsageError: there is no such run, it did not finish, or it keeps no scores or weights to compare with.
    """
    store = open_store(settings)
    record = find_run(store, called)
    with tempfile.TemporaryDirectory() as folder:
        scores, *kept = (store.file(record, name, Path(folder)) for name in (SCORES, SOURCES, PACKAGES))
        files = [None if path is None else path.read_text(encoding="utf-8") for path in kept]
    if problem := _not_comparable(record, has_scores=scores is not None):
        below = "Name one of those below it: sentiflow runs --children"
        hint = below if record.kind in PARENTS else "See what there is: sentiflow runs"
        raise UsageError(f"{record.name} cannot be reproduced: {problem}.", hint)
    params = record.params
    try:
        config = TrainConfig(**{name: params[name] for name in TrainConfig.model_fields if name in params})
    except ValidationError as err:
        field = ".".join(map(str, err.errors()[0]["loc"]))
        problem = f"Today's code does not train the recipe of {record.name}: {field} = {params.get(field)}."
        raise UsageError(problem, "\n".join(["Bring its code back:", *old_code(record, settings)])) from err
    try:
        dataset, seed, table = params["dataset"], int(params["seed"]), _table_options(params)
    except (KeyError, ValueError, SyntaxError) as err:
        problem = f"{record.name} cannot be reproduced: its parameters were changed ({err})."
        raise UsageError(problem, "See what there is: sentiflow runs") from err
    return Original(
        record, config, seed, started(record), dataset, table, str(record.digest),
        record.tags[SCORER_DIGEST], store.versions_by_run().get(record.run_id), *files,
    )  # fmt: skip


def _not_comparable(record: RunRecord, *, has_scores: bool) -> str:
    if record.kind in PARENTS:
        return f"it is the parent of several ({record.kind})"
    if record.status != "FINISHED":
        return f"it did not finish ({record.status.lower()}), so there is nothing to compare with"
    if not has_scores or SCORER_DIGEST not in record.tags:
        return f"it keeps no test scores or weights to compare with ({record.kind})"
    return ""


def _table_options(params: Mapping[str, str]) -> TableOptions:
    """How a user's table was read, by the parameters of its run; as usual for a built-in dataset."""
    given = {name: params[f"table.{name}"] for name in TableOptions.model_fields if f"table.{name}" in params}
    if "labels" in given:
        return TableOptions(**given | {"labels": literal_eval(given["labels"])})
    return TableOptions(**given)


def need_data(original: Original, settings: Settings, progress: Progress = no_progress) -> tuple[Prepared, str]:
    """The data that a run was trained on, and the digest of what its dataset gives now, or why it gives nothing.

    A table that was prepared of it once is enough, whatever became of its source.

    Raises:
        ExternalError: there is none with the run's digest.
    """
    try:
        source = fetch(original.dataset, settings, progress, original.table)
        now = prepare(source, settings, progress).digest
    except (UsageError, ExternalError, OSError) as err:
        now = first_line(err)
    kept = find_kept(original.dataset, original.data, settings, original.table)
    if kept is None:
        gives = now[:12] if _is_digest(now) else f"nothing ({now.removesuffix('.')})"
        raise ExternalError(
            f"The data of {original.record.name} cannot be had: its digest is {original.data[:12]}, and "
            f"{original.dataset} gives {gives}.",
            "Put back what it was read from, or reproduce it with the data folder (SENTIFLOW_DATA_DIR) it used.",
        )
    return kept, now


@dataclass(frozen=True)
class Check:
    """One thing that decides a training, then and now; ``text`` is for people."""

    what: str
    same: bool
    text: str


def checks(original: Original, data: str) -> list[Check]:
    """What decided a run's training, compared with here and now.

    ``data`` is the digest of what its dataset gives now, or why it gives nothing.
    """
    then, now = original.record.tags, provenance_tags()
    return [
        _code(original, now),
        _check("lock", then, now, "lock.digest", f"{LOCK} is another"),
        _packages(original),
        Check("data", data == original.data, "same" if data == original.data else _then_now(original.data, data)),
        _recipe(original),
        Check("start", True, original.start.text()),
        _check("processor", then, now, "processor"),
        _check("threads", then, now, "threads"),
    ]


def old_code(record: RunRecord, settings: Settings) -> list[str]:
    """The commands that bring a run's code and packages back into a folder of its own, and train it there.

    A user pastes them into a shell: what the store gives, which others may write, stays one word of them.
    """
    commit, folder = record.tags.get("git.commit", ""), f"../sentiflow-{record.run_id[:8]}"
    if not re.fullmatch("[0-9a-f]{40,64}", commit):
        return ["Its commit is not known: install the code and the packages that it was trained with."]
    store = quote(redact(settings.tracking_uri))
    lines = [f"git worktree add {folder} {commit}"]
    patch = record.tags.get("git.patch", "")
    if patch == PATCH:
        place = local_path(record.artifact_uri)
        if place is None:
            kept = f"--run-id {record.run_id} --artifact-path {PATCH} --dst-path {folder}"
            lines.append(f"MLFLOW_TRACKING_URI={store} mlflow artifacts download {kept}")
        lines.append(f"git -C {folder} apply {PATCH if place is None else quote(str(place / PATCH))}")
    elif patch:
        lines.append(f"# its uncommitted changes were {' '.join(patch.split())}")
    return [
        *lines,
        f"make -C {folder} setup",
        f"export SENTIFLOW_TRACKING_URI={store} SENTIFLOW_DATA_DIR={quote(str(settings.data_dir))}",
        f"{folder}/.venv/bin/sentiflow reproduce {record.run_id}",
    ]


def _check(what: str, then: Mapping[str, str], now: Mapping[str, str], tag: str, text: str = "") -> Check:
    before, after = then.get(tag, "unknown"), now[tag]
    if before == after:
        return Check(what, True, "same")
    return Check(what, False, text if text and "unknown" not in (before, after) else _then_now(before, after))


def _then_now(then: str, now: str) -> str:
    def short(text: str) -> str:
        return text[:12] if _is_digest(text) else text.removesuffix(".")

    return f"{short(then)} then, now {short(now)}"


def _is_digest(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def _code(original: Original, now: Mapping[str, str]) -> Check:
    then = original.record.tags
    commits = [
        f"{tags.get('git.commit', 'unknown')[:7]}{' with changes' * (tags.get('git.dirty') == 'true')}"
        for tags in (then, now)
    ]
    commit = f"commit {commits[0]}" if commits[0] == commits[1] else f"commit {commits[0]} then, now {commits[1]}"
    if then.get("code.digest") == now["code.digest"]:
        return Check("code", True, f"same ({commit})")
    changed = _changed(_by_name(original.sources, "  ", -1), _by_name(sources(), "  ", -1))
    return Check("code", False, f"{_listed(changed, 'file')} ({commit})")


def _packages(original: Original) -> Check:
    if original.record.tags.get("packages.digest") == digest_of(packages()):
        return Check("packages", True, "same")
    then, now = _by_name(original.packages, "==", 0), _by_name(packages(), "==", 0)
    names = sorted(_changed(then, now), key=lambda name: (name not in _NUMERIC, name))
    lines = [f"{name} {then.get(name, 'missing')}, now {now.get(name, 'missing')}" for name in names]
    return Check("packages", False, _listed(lines, "package", "; "))


def _recipe(original: Original) -> Check:
    """Whether today's recipe of that name, with the run's own changes, is what the run was trained with."""
    config, tags = original.config, original.record.tags
    own = {each.partition("=")[0] for each in tags.get("recipe.changes", "none").split(", ")}
    today = RECIPES.get(config.recipe)
    lines = [
        f"{name} {value}, today's {config.recipe} has {getattr(today, name)}"
        for name, value in config.changes().items()
        if today is not None and name not in own
    ]
    new = [name for name in TrainConfig.model_fields if name not in original.record.params]
    lines += [f"{name} is new, taken as {getattr(config, name)}" for name in new]
    return Check("recipe", not lines, "; ".join(lines) or "same")


def _by_name(text: str | None, separator: str, name: int) -> dict[str, str]:
    """Lines of two parts as a mapping from the part that is the name."""
    parts = [line.split(separator) for line in (text or "").splitlines()]
    return {each[name]: each[name - 1] for each in parts}


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _listed(names: Sequence[str], what: str, separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    count = f"{len(names)} {what}{'s' * (len(names) != 1)} differ{'s' * (len(names) == 1)}: "
    return count + separator.join(names[:SHOWN]) + more


def compared(
    run: RunContext, now: ScoreTable, scorer: TextScorer, original: Original, logger: Logger
) -> Reproduction:
    """Compare scores and weights of a run with those of the run that it repeats."""
    store = open_store(run.settings)
    same = scorer.digest == original.weights
    with tempfile.TemporaryDirectory() as folder:
        then = score_table(store, original.record, Path(folder))
        if then is None:
            raise ExternalError(f"The test scores of {original.record.name} are gone.", "Reproduce another run.")
        then = then.in_order_of(now)
        change = 0.0 if same else _weight_change(store, original, scorer.weights, Path(folder), logger)
    return Reproduction(
        run.run_id, run.name, run.url,
        original=original.record.run_id,
        called=original.version or original.record.name,
        same_weights=same,
        weight_change=change,
        score_change=float(np.abs(now.score - then.score).max()),
        accuracy=float(now.right.mean()),
        accuracy_then=float(then.right.mean()),
        comparison=compare(now.right, then.right),
    )  # fmt: skip


def _weight_change(
    store: Store, original: Original, weights: Weights, folder: Path, logger: Logger
) -> float | None:
    """The largest change of a weight; None if no version keeps the original's, or their shapes differ."""
    if original.version is None:
        return None
    name, _, number = original.version.rpartition("/")
    try:
        files = store.version_files(name, int(number), folder / "version")
        kept = TextScorer.load(files / "artifacts").weights
    except (ExternalError, OSError, ValueError) as err:
        logger.warning("The weights of %s cannot be read: %s", original.version, first_line(err))
        return None
    before, after = _arrays(kept), _arrays(weights)
    if {key: value.shape for key, value in before.items()} != {key: value.shape for key, value in after.items()}:
        return None
    return max(float(np.abs(after[key].astype(float) - before[key]).max()) for key in before)


def _arrays(weights: Weights) -> dict[str, NDArray[Any]]:
    return {name: value for name, value in weights.entries().items() if value.dtype.kind == "f"}


def tag_versions(run: RunContext, original: Original, verdict: str) -> None:
    """Say on each version of the original how it went, bound to the weights that it was trained to."""
    name = run.model_name
    tags = {
        "reproduced.at": datetime.now(UTC).isoformat(timespec="seconds"),
        "reproduced.run": run.run_id,
        REPRODUCED_DIGEST: original.weights,
        REPRODUCED: verdict,  # last: a reader that sees it finds the others
    }
    for version in open_store(run.settings).versions(name):
        if version.run_id == original.record.run_id:
            for key, value in tags.items():
                run.client.set_model_version_tag(name, str(version.number), key, value)
