"""What a server says of its runs, asked over HTTP, against the local store that it stands on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from benchmarks.made_runs import fill
from flows.cli.main import application
from sentiflow.errors import UsageError
from sentiflow.settings import Settings
from sentiflow.store import rest as reader
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.find import find_run, open_store
from sentiflow.store.records import RegisteredModel
from sentiflow.store.rest import ServerStore
from sentiflow.store.sqlite import SqliteStore
from tests import servers
from tests.world import World, make_world

pytestmark = pytest.mark.story

MADE = 60  # more than are asked for before the rest is asked for in parts
ODD = """it's an "odd" name"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> World:
    """A store of many runs, and of all that is odd."""
    world = make_world(tmp_path_factory.mktemp("filled"), migrated_store)
    client = connect(world.settings)
    experiment = experiment_id(client, world.settings)
    assert world.settings.sqlite_file is not None
    fill(world.settings.sqlite_file, experiment, MADE)
    made = SqliteStore(world.settings, world.settings.sqlite_file).runs()
    add_odd(client, experiment, made[30].started.timestamp(), made[6].started.timestamp())
    return world


def add_odd(client: MlflowClient, experiment: str, moment: float, later: float) -> None:
    """Runs of one millisecond, amid the others: namesakes, one below a deleted one, one of another experiment.

    A trial that is older than the sweep that took it over, and than all others.
    """

    def add(name: str, experiment: str = experiment, at: float = moment, **tags: str) -> str:
        named = {key.replace("__", "."): value for key, value in tags.items()}
        run = client.create_run(experiment, start_time=round(at * 1000), tags=named, run_name=name)
        return str(run.info.run_id)

    parent, gone = add("sweep", kind="sweep", recipe="tuned"), add("gone", kind="sweep")
    trial = add("trial", kind="trial", mlflow__parentRunId=parent)
    add("below a trial", kind="repeat", mlflow__parentRunId=trial)
    add("orphan", kind="trial", mlflow__parentRunId=gone)
    client.delete_run(gone)
    again = add("again", at=later, kind="sweep", continues=gone)
    add("taken over", at=moment - 1e6, kind="trial", mlflow__parentRunId=again)
    for name in ("twin", "twin", ODD, "50%_done", "a;b"):
        client.log_param(add(name, recipe="other", dataset="reviews"), "empty", "")
    add("a look", kind="monitor")
    client.set_terminated(add("failed"), "FAILED")
    values = {"odd/nan": float("nan"), "odd/inf": float("inf"), "odd/less": float("-inf"), "odd/tiny": 1e-300}
    client.log_batch(trial, [Metric(key, value, 1, step) for key, value in values.items() for step in (1, 2)])
    far = client.create_experiment("far", artifact_location="mlflow-artifacts:/far")
    add("elsewhere", far, dataset__digest="d")
    add("another project's", client.create_experiment("churn"), recipe="tuned")
    add_versions(client, far, trial, parent)


def add_versions(client: MlflowClient, experiment: str, *run_ids: str) -> None:
    client.create_registered_model("m")
    for run_id in (*run_ids, run_ids[0], None, run_ids[1]):
        logged = client.create_logged_model(experiment, name="m")
        client.create_model_version("m", f"models:/{logged.model_id}", run_id=run_id, model_id=logged.model_id)
    client.copy_model_version("models:/m/1", "shipped")
    client.delete_model_version("m", "5")
    client.set_registered_model_alias("m", "champion", "2")


@pytest.fixture(scope="module")
def address(filled: World) -> Iterator[str]:
    """A server over that store."""
    arguments = ["server", "--workers", "1", "--backend-store-uri", filled.settings.tracking_uri,
                 "--artifacts-destination", str(filled.root / "served"), "--serve-artifacts"]  # fmt: skip
    with servers.mlflow(arguments, filled.root, "/health") as address:
        yield address


@pytest.fixture
def server(address: str) -> ServerStore:
    store = open_store(Settings(tracking_uri=address))
    assert isinstance(store, ServerStore)
    return store


@pytest.fixture
def local(filled: World) -> SqliteStore:
    store = open_store(filled.settings)
    assert isinstance(store, SqliteStore)
    return store


def test_a_server_tells_the_same_runs_in_the_same_order(
    server: ServerStore, local: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = local.runs()
    assert len(told) == MADE + 13
    for first in (35, reader._FIRST, 10_000):  # the 35th is in the middle of those that began at once
        monkeypatch.setattr(reader, "_FIRST", first)
        assert repr(server.runs()) == repr(told)  # NaN is no NaN's equal, but they read the same


def test_a_run_its_children_its_epochs_and_the_versions_are_the_same(
    server: ServerStore, local: SqliteStore
) -> None:
    runs = local.runs()
    for run in [run for run in runs if run.kind in ("repeats", "sweep", "trial", "monitor")] + runs[:2]:
        assert repr(server.record(run.run_id)) == repr(local.record(run.run_id))
        assert repr(server.children(run.run_id)) == repr(local.children(run.run_id))
        assert repr(server.history(run.run_id)) == repr(local.history(run.run_id))
    assert server.children("0" * 32) == []
    parent, trial = (next(run.run_id for run in runs if run.name == name) for name in ("sweep", "trial"))
    assert server.versions_by_run() == local.versions_by_run() == {parent: "m/2", trial: "m/1"}
    assert server.models() == local.models() == ["m", "shipped"]
    assert server.versions("m") == local.versions("m") and [one.number for one in local.versions("m")] == [
        1,
        2,
        3,
        4,
    ]
    assert server.model("m") == local.model("m") == RegisteredModel({"champion": 2}, {})
    assert server.model("n") is local.model("n") is None
    assert (
        server.version("m", 4) == local.version("m", 4) and server.version("m", 5) is local.version("m", 5) is None
    )
    assert server.run_names([trial, "it's none"]) == local.run_names([trial, "it's none"]) == {trial: "trial"}


@pytest.mark.parametrize(
    "text",
    ["twin", ODD, "50%_done", "50%", "a;b", "sweep", "gone", "elsewhere", "nobody", "", "abc", "m@champion", "m/1",
     "m/3", "m/4", "m/5", "n/1", "0" * 32, "made0000", "tuned-imdb-seed1-made00001"],
)  # fmt: skip
def test_a_text_means_the_same_run_or_the_same_error(server: ServerStore, local: SqliteStore, text: str) -> None:
    answers = []
    for store in (server, local):
        try:
            answers.append(repr(find_run(store, text)))
        except UsageError as err:
            answers.append(f"{str(err.args[0]).partition(' in ')[0]} {err.hint}")
    assert answers[0] == answers[1]


QUERIES = [
    (), ("--limit", "3"), ("--children", "--limit", "500"), ("--json", "--children", "--limit", "500"),
    ("--kind", "repeats", "--children"), ("--kind", "sweep", "--children"), ("--kind", "trial"),
    ("--kind", "monitor"), ("--recipe", "other"), ("--recipe", "none-such"), ("--dataset", "reviews"),
    ("--status", "running", "--status", "failed"), ("--since", "90m"), ("--since", "2999-01-01"),
    ("--sort", "-accuracy"), ("--sort", "odd/nan", "--children"), ("--sort", "-odd/inf", "--children"),
    ("--sort", "odd/tiny"), ("--sort", "name", "--children"), ("--sort", "nothing"), ("--sort", "seed"),
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=" ".join)
def test_a_query_prints_the_same(
    filled: World, address: str, query: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli.output.set_up", lambda **_: None)
    printed = []
    for uri in (address, filled.settings.tracking_uri):
        monkeypatch.setenv("SENTIFLOW_TRACKING_URI", uri)
        result = CliRunner().invoke(application(), ["runs", *query])
        printed.append((result.output, repr(result.exception), getattr(result.exception, "hint", "")))
    assert printed[0] == printed[1]
    assert printed[0][0] or printed[0][2]


def test_a_comparison_is_the_same_and_imports_no_mlflow(
    filled: World, address: str, local: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli.output.set_up", lambda **_: None)
    filled.enter(monkeypatch)
    scored = [run.run_id for run in local.runs() if "scored" in run.tags][:3]
    repeats = next(run.name for run in local.runs() if run.kind == "repeats")
    for names in ([one[:8] for one in scored], [repeats], scored[:2]):
        printed = []
        for uri in (address, filled.settings.tracking_uri):
            monkeypatch.setenv("SENTIFLOW_TRACKING_URI", uri)
            result = CliRunner().invoke(application(), ["compare", "--json", *names])
            assert result.exit_code == 0, result.exception
            printed.append(json.loads(result.stdout))
        assert printed[0] == printed[1]
    there = filled.run("compare", "--json", *names, SENTIFLOW_TRACKING_URI=address, PYTHONPROFILEIMPORTTIME="1")
    assert json.loads(there.stdout) == printed[0]
    imported = {line.rpartition("|")[2].strip() for line in there.stderr.splitlines()}
    assert "requests" in imported and not imported & {"mlflow", "pandas", "prefect"}
