"""What the tries start from, and what must hold in the end."""

from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from sentiflow.locks import if_free
from sentiflow.promotion.history import took_effect
from sentiflow.promotion.switch import need_files
from sentiflow.scoring import TextScorer
from sentiflow.store.client import connect
from tests.mlflow_store import champion_of, events_of, versions_of
from tests.polling import until
from tests.world import World, copy_world

NAME = "sample-sentiment"
SAMPLE = ("--dataset", "sample")
TRAIN = ("train", *SAMPLE, "--recipe", "tutorial", "--set", "sequence_length=80")


@dataclass(frozen=True)
class Worlds:
    """Copies of a world with three versions of the sample's model (see ``Registry``); nobody is champion."""

    made: World

    def copy(self, root: Path) -> World:
        """A world of a try's own; the files of the versions stay where they are."""
        return copy_world(root, self.made)


def put_in_use(world: World, number: int) -> MlflowClient:
    """Make a version champion, without the gate."""
    client = connect(world.settings)
    client.set_registered_model_alias(NAME, "champion", str(number))
    return client


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
