"""Faults around the champion: concurrent changes, and bad models."""

import io
import json
import multiprocessing
import pickle
import random
import shutil
import sqlite3
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from mlflow.tracking import MlflowClient

from sentiflow.errors import BusyError, ExternalError, SentiflowError, UsageError
from sentiflow.promotion import switch
from sentiflow.scoring import TextScorer
from sentiflow.store.find import open_store
from tests.faults.campaign import Case, Red
from tests.faults.worlds import NAME, Worlds, check_history, files_of, put_in_use, wait_until
from tests.mlflow_store import champion_of, events_of
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import figure
from tests.world import Registry, World

PROCESSES, CHANGES = 8, 12
VERSIONS = (Registry.GOOD, Registry.POOR, Registry.NEWEST)


def concurrent_changes(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Eight processes promote and roll back; a reader looks at the champion a hundred times a second."""
    world = worlds.copy(folder)
    client = put_in_use(world, Registry.POOR)
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_change, world.root, seed * PROCESSES + k) for k in range(PROCESSES)]
        seen = _watch(world, lambda: all(job.done() for job in jobs))
        came = sum((job.result() for job in jobs), Counter())
    assert len(seen) > 100, f"the reader looked only {len(seen)} times"
    assert None not in seen, f"{seen.count(None)} of {len(seen)} looks found no champion"
    events = events_of(client, NAME)
    assert all(event.done for event in events), "an event is not marked as done"
    assert check_history(client) == len(events) == came["changes"], (len(events), came)
    order = iter([Registry.POOR, *(event.version for event in events)])
    for version in [one for one, before in zip(seen, [None, *seen], strict=False) if one != before]:
        assert version in order, f"a look found version {version} when the history had another"
    assert came["changes"] >= PROCESSES and came["lost races"], f"too little happened: {came}"
    return {**came, "looks": len(seen)}


def _change(root: Path, seed: int) -> "Counter[str]":
    """Promote and roll back at random; counts what came of it."""
    settings, random_ = World(root).settings, random.Random(seed)
    came: Counter[str] = Counter({"changes": 0, "lost races": 0, "refused": 0})
    for _ in range(CHANGES):
        try:
            if random_.random() < 0.65:
                switch.promote(NAME, random_.choice(VERSIONS), settings, force=True, reason="a try")
            else:
                switch.rollback(NAME, "a try", settings)
            came["changes"] += 1
        except UsageError as err:
            assert "is the champion already" in str(err) or "no earlier champion" in str(err), err
            came["refused"] += 1
        except BusyError:
            came["refused"] += 1
        except ExternalError as err:
            assert "somebody else changed it meanwhile" in str(err), err
            came["lost races"] += 1
    return came


def _watch(world: World, over: Callable[[], bool]) -> list[int | None]:
    """What the champion is, a hundred times a second, until all is over."""
    store, seen, at = open_store(world.settings), [], time.monotonic()
    while not over():
        model = store.model(NAME)
        seen.append(None if model is None else model.champion)
        at = max(at + 0.01, time.monotonic())
        time.sleep(max(0.0, at - time.monotonic()))
    return seen


F5 = Case(
    "F5",
    "However many promote and roll back at once, there is one champion at every moment, and the history agrees.",
    f"{PROCESSES} processes promote or roll back {CHANGES} times each, while a reader looks up to 100 times a "
    "second.",
    concurrent_changes,
    short=1,
    long=9,
    reds=(
        Red(
            "the champion is changed without its lock", "sentiflow/promotion/switch.py",
            "with champion_lock(name, settings), tracking_errors(settings.tracking_uri):",
            "with tracking_errors(settings.tracking_uri):", "UNIQUE constraint failed | does not follow",
        ),
        Red(
            "the alias is removed before it is set", "sentiflow/promotion/switch.py",
            "    client.set_registered_model_alias(name, CHAMPION, str(event.version))",
            "    client.delete_registered_model_alias(name, CHAMPION)\n"
            "    client.set_registered_model_alias(name, CHAMPION, str(event.version))", "found no champion",
        ),
    ),
)  # fmt: skip


class _Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self._mark, "ran")


def _change_weights(files: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = files / "artifacts" / "weights.npz"
    with np.load(path) as found:
        arrays = dict(found)
    np.savez(path, **change(arrays))


def _not_a_number(files: Path, random_: random.Random, mark: Path) -> None:
    def change(arrays: dict[str, Any]) -> dict[str, Any]:
        numbers = [array for array in arrays.values() if array.dtype.kind == "f"]
        random_.choice(numbers).flat[0] = random_.choice([np.nan, np.inf, -np.inf])
        return arrays

    _change_weights(files, change)


def _constant(files: Path, random_: random.Random, mark: Path) -> None:
    scorer = TextScorer.load(files / "artifacts")
    silent = replace(scorer.weights, dense_kernel=0 * scorer.weights.dense_kernel)
    replace(scorer, weights=silent).save(files / "artifacts")


def _opposite(files: Path, random_: random.Random, mark: Path) -> None:
    scorer = TextScorer.load(files / "artifacts")
    turned = replace(
        scorer.weights, dense_kernel=-scorer.weights.dense_kernel, dense_bias=-scorer.weights.dense_bias
    )
    replace(scorer, weights=turned).save(files / "artifacts")


def _other_words(files: Path, random_: random.Random, mark: Path) -> None:
    path = files / "artifacts" / "vocabulary.json"
    words = json.loads(path.read_text())
    random_.shuffle(words)
    path.write_text(json.dumps(words))


def _truncated(name: str) -> Callable[[Path, random.Random, Path], None]:
    def cut(files: Path, random_: random.Random, mark: Path) -> None:
        path = files / "artifacts" / name
        content = path.read_bytes()
        path.write_bytes(content[: random_.randrange(len(content) - 1)])

    return cut


def _flipped(files: Path, random_: random.Random, mark: Path) -> None:
    """A byte of the largest array is another: the archive's checksum no longer fits."""
    path = files / "artifacts" / "weights.npz"
    content = bytearray(path.read_bytes())
    content[random_.randrange(len(content) // 4, len(content) // 2)] ^= 255
    path.write_bytes(content)


def _pickled(files: Path, random_: random.Random, mark: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    stream.write(pickle.dumps(_Runs(mark)))
    path = files / "artifacts" / "weights.npz"
    with np.load(path) as found:
        arrays = dict(found)
    name = random_.choice(list(arrays))
    with zipfile.ZipFile(path, "w") as archive:
        for each, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{each}.npy", stream.getvalue() if each == name else content.getvalue())


def _other_scoring_code(files: Path, random_: random.Random, mark: Path) -> None:
    _plant(random_.choice(sorted(files.glob("code/*/*.py"))), mark)


def _other_model_file(files: Path, random_: random.Random, mark: Path) -> None:
    _plant(files / "sentiment_model.py", mark)


def _plant(place: Path, mark: Path) -> None:
    place.write_text(f"from pathlib import Path\nPath({str(mark)!r}).write_text('ran')\n{place.read_text()}")


# Those of the second group can be loaded: they are data, and the gate must refuse them by their scores.
UNLOADABLE = {
    "not a number": _not_a_number, "truncated weights": _truncated("weights.npz"), "a flipped byte": _flipped,
    "truncated words": _truncated("vocabulary.json"), "truncated settings": _truncated("scorer.json"),
    "a pickle": _pickled,
}  # fmt: skip
CHANGED = {"a constant": _constant, "the opposite": _opposite, "other words": _other_words}
WORSE = {**CHANGED, "scoring code": _other_scoring_code}
# As another release would pack it: promoted with a warning, and never run.
NOT_RUN = {"a model file": _other_model_file}


KINDS = {**UNLOADABLE, **WORSE, **NOT_RUN}


def bad_models(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Each kind registered as a new version, then put in place of a good version's files; promoted, and in use."""
    world, random_ = worlds.copy(folder / "world"), random.Random(seed)
    client, mark, bad = put_in_use(world, Registry.POOR), folder / "ran", 0
    good = files_of(client, Registry.GOOD)
    with service.running(world, *("--dataset", "sample")) as running, running.client() as http:
        for kind, damage in KINDS.items():
            for place in ("new", "in place"):
                files = folder / f"{place} {kind}"
                shutil.copytree(good, files)
                damage(files, random_, mark)
                number = _register(client, files) if place == "new" else _put_in_place(world, files)
                try:
                    promoted = switch.promote(NAME, number, world.settings).event is not None
                except SentiflowError:
                    promoted = False
                assert not promoted or kind in NOT_RUN, f"{kind}, {place}: version {number} was promoted"
                assert promoted or kind not in NOT_RUN, f"{kind}, {place}: version {number} was not promoted"
                bad += 1
                put_in_use(world, Registry.POOR)
                assert champion_of(client, NAME) == Registry.POOR, f"{kind}: the champion has changed"
                assert not mark.exists(), f"{kind}: code in the version has run"
                damaged = kind in UNLOADABLE or (place == "in place" and kind in CHANGED)
                _set_by_hand(client, http, number, f"{kind}, {place}", damaged=damaged)
                assert not mark.exists(), f"{kind}, {place}: code in the version has run in the service"
                put_in_use(world, Registry.POOR)
                wait_until(lambda: _answers(http) == Registry.POOR, "the service to go back")
    return {"bad versions": bad}


def _set_by_hand(client: MlflowClient, http: httpx.Client, number: int, what: str, *, damaged: bool) -> None:
    """Set the alias past the gate; the service refuses a damaged version, and answers by another one."""

    def failures() -> float:
        return figure(http, "sentiflow_champion_failures_total", stage="load")

    before = failures()
    client.set_registered_model_alias(NAME, "champion", str(number))
    if damaged:
        wait_until(lambda: failures() > before, f"{what}: the service to refuse version {number}")
        assert _answers(http) == Registry.POOR, f"{what}: version {number} is served"
    else:
        wait_until(lambda: _answers(http) == number, f"{what}: the service to answer by version {number}")


def _answers(http: httpx.Client) -> int:
    """The version that answers."""
    answer = http.post("/predict", json={"text": "good"})
    assert answer.status_code == 200, f"the service answers {answer.status_code}: {answer.text}"
    return int(answer.json()["model"]["version"])


def _register(client: MlflowClient, files: Path) -> int:
    """A version of its own, without a run and its scores, tagged as the good one but for the digest."""
    tags = client.get_model_version(NAME, str(Registry.GOOD)).tags
    tags.pop("scorer.digest")
    return int(client.create_model_version(NAME, files.as_uri(), tags=tags).version)


def _put_in_place(world: World, files: Path) -> int:
    with sqlite3.connect(str(world.settings.sqlite_file)) as database:
        database.execute(
            "UPDATE model_versions SET storage_location = ? WHERE version = ?", (files.as_uri(), Registry.GOOD)
        )
    return Registry.GOOD


F6 = Case(
    "F6",
    "A damaged or worse version is not promoted, a damaged one is not served, and code that was put into one "
    "never runs.",
    f"There are {len(KINDS)} kinds of damage ({', '.join(KINDS)}), each in a new version and in place of a good "
    "version's files. A try asks to promote each, and sets the alias by hand under a running service. The service "
    "must refuse what it cannot read, and weights or words that are not those registered; a version's code never "
    "runs. A version of which only the model file differs is promoted, with a warning (see the known limits).",
    bad_models,
    short=1,
    long=2,
    reds=(
        Red(
            "weights may be pickles", "sentiflow/scoring/weights.py", "allow_pickle=False", "allow_pickle=True",
            "code in the version has run",
        ),
        Red(
            "nothing holds weights to those that were registered", "sentiflow/store/versions.py",
            "if registered is not None and registered != scorer.digest:", "if False:",
            "in place: version 1 was promoted",
        ),
        Red(
            "weights may be infinite", "sentiflow/scoring/weights.py",
            "if not all(np.isfinite(array).all() for array in arrays):", "if False:", "not a number",
        ),
        Red(
            "the gate runs the version's model file", "sentiflow/promotion/scores.py",
            "        return path, load_unchanged(path, tags)\n",
            '        exec((path / "sentiment_model.py").read_text(), {})\n'
            "        return path, load_unchanged(path, tags)\n", "a model file: code in the version has run",
        ),
        Red(
            "the gate refuses nothing", "sentiflow/promotion/switch.py", "if candidate.decision.passed:",
            "if True:", "a constant, new: version",
        ),
        Red(
            "a champion that is refused leaves the service without one", "sentiflow/serving/champion.py",
            "        loaded = self.state.loaded\n        rest =", "        loaded = None\n        rest =",
            "the service answers 503",
        ),
    ),
)  # fmt: skip
