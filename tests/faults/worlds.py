"""What the tries start from: a store with three versions, made once by the commands themselves."""

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from sentiflow.locks import if_free
from sentiflow.promotion.history import took_effect
from sentiflow.promotion.switch import need_files
from sentiflow.scoring import TextScorer
from sentiflow.store.client import connect
from tests import servers
from tests.mlflow_store import champion_of, events_of, versions_of
from tests.polling import until
from tests.world import World, copy_world

NAME = "sample-sentiment"
SAMPLE = ("--dataset", "sample")
TRAIN = ("train", *SAMPLE, "--recipe", "tutorial", "--set", "sequence_length=80")
_VERSIONS = (
    (*TRAIN, "--seed", "4"),
    (*TRAIN, "--seed", "4", "--set", "epochs=1", "--set", "learning_rate=0.0001"),  # a poor one
    (*TRAIN, "--seed", "5"),
)


class Worlds:
    """Worlds with three versions of the sample's model (see ``Registry``); nobody is champion."""

    def __init__(self, folder: Path) -> None:
        self._made = World(folder)

    def copy(self, root: Path) -> World:
        """A world of a try's own, Prefect's database included; the files of the versions stay where they are."""
        made = self._made.root / "made.json"
        made.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(made.with_suffix(".lock")):  # two processes may come at once
            if not made.exists():
                self._make()
                made.write_text(json.dumps(_VERSIONS))
        root.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self._made.root / "prefect", root / "prefect")
        return copy_world(root, self._made)

    def _make(self) -> None:
        home = self._made.root / "prefect"
        home.mkdir(exist_ok=True)
        with servers.prefect(home) as address:
            for command in _VERSIONS:
                done = self._made.run(*command, timeout=900, PREFECT_API_URL=address)
                assert done.returncode == 0, done.stderr


def put_in_use(world: World, number: int) -> MlflowClient:
    """Make a version champion, without the gate."""
    client = connect(world.settings)
    client.set_registered_model_alias(NAME, "champion", str(number))
    return client


def until_used(pid: int, cpu_seconds: float) -> None:
    """Wait until a process has used so much processor time, or has ended."""
    with suppress(psutil.NoSuchProcess):  # a zombie counts as none
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE and sum(process.cpu_times()[:2]) < cpu_seconds:
            time.sleep(0.01)


def all_runs(client: MlflowClient) -> list[Run]:
    experiments = [each.experiment_id for each in client.search_experiments()]
    return list(client.search_runs(experiments, max_results=1_000))


def check_whole(world: World, champion: int | None = None, name: str = NAME) -> int:
    """Assert that nothing half-made is left; gives the number of versions.

    Args:
        world: to look at.
        champion: the version that must be in use, if it is known.
        name: of the registered model.
    """
    until(lambda: not world.processes(), "the processes of this world to end", 30)
    client = connect(world.settings)
    running = [run.info.run_name for run in all_runs(client) if run.info.status == "RUNNING"]
    assert not running, f"runs left open: {running}"
    experiments = [each.experiment_id for each in client.search_experiments()]
    pending = [each.model_id for each in client.search_logged_models(experiments) if str(each.status) != "READY"]
    assert not pending, f"models never finished: {pending}"
    versions = versions_of(client, name)
    runs = [version.run_id for version in versions.values()]
    assert len(set(runs)) == len(runs), f"two versions of one run: {runs}"
    for number in versions:
        need_files(name, number)
    if champion is not None:
        assert champion_of(client, name) == champion, f"champion is {champion_of(client, name)}, not {champion}"
    check_history(client, name)
    for lock in (world.root / "data" / "locks").glob("*.lock"):
        with if_free(lock) as free:
            assert free, f"{lock.name} is still held: {lock.read_text()}"
    files = [path for path in (world.root / "data").rglob("*") if path.is_file()]
    left = [path for path in files if ".partial" in path.name or path.is_relative_to(world.root / "data" / "work")]
    assert not left, f"files left: {left}"
    return len(versions)


def check_history(client: MlflowClient, name: str = NAME) -> int:
    """Assert that the history has no gap and agrees with the alias; gives the number of its events in effect."""
    events = events_of(client, name)
    champion = champion_of(client, name)
    effective = [event for event, done in zip(events, took_effect(events, champion), strict=True) if done]
    for before, after in zip(effective, effective[1:], strict=False):
        assert after.replaced == before.version, f"{after} does not follow {before}"
    if effective:
        assert champion == effective[-1].version, f"champion {champion}, the history says {effective[-1].version}"
    return len(effective)


def scorer_of(client: MlflowClient, number: int) -> TextScorer:
    """A version's scorer by its files."""
    uri = client.get_model_version_download_uri(NAME, str(number))
    return TextScorer.load(Path(uri.removeprefix("file://")) / "artifacts")
