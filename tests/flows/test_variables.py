"""Trainings beside every variable that the installed libraries name: the same weights, or a refusal in words."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from sentiflow.environment import KEPT, is_kept
from sentiflow.store.records import SCORER_DIGEST
from tests import variables
from tests.world import World

pytestmark = [pytest.mark.story, pytest.mark.weekly]

QUICK = ("--dataset", "sample", "--recipe", "tutorial", "--set", "sequence_length=40", "--set", "epochs=2")
KERAS_JSON = """
{"floatx": "float16", "epsilon": 1, "backend": "torch", "nnx_enabled": true, "image_data_format": "channels_first"}
"""
COMMANDS = {
    "numba": ("train", *QUICK, "--force"),
    "keras": ("train", *QUICK, "--force", "--set", "backend=keras"),
}


def weights(world: World) -> str:
    """What the newest training gave, to the last bit."""
    from tests.faults.worlds import all_runs, connect

    runs = [run for run in all_runs(connect(world.settings)) if run.data.tags["kind"] == "training"]
    newest = max(runs, key=lambda run: run.info.start_time)
    assert newest.info.status == "FINISHED"
    metrics = newest.data.metrics
    return newest.data.tags.get(SCORER_DIGEST) or f"{metrics['val/loss']!r} {metrics['test/accuracy']!r}"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_taken_out_changes_nothing(
    world: World, prefect_server: None, tmp_path: Path, command: str
) -> None:
    """Red if one of more than 500 variables, or a keras.json, changed a result and no run told."""
    names = {name for name in variables.in_python() | variables.in_shared_libraries() if not is_kept(name)}
    (tmp_path / "home" / ".keras").mkdir(parents=True)
    (tmp_path / "home" / ".keras" / "keras.json").write_text(KERAS_JSON)
    done = world.run(*COMMANDS[command], timeout=600)
    assert done.returncode == 0 and "Ignored variables" not in done.stderr, done.stderr
    expected = weights(world)
    for value in ("1", "odd"):
        given = dict.fromkeys(names, value) | {"HOME": str(tmp_path / "home")}
        done = world.run(*COMMANDS[command], timeout=600, **given)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("Ignored variables, which can change results: ") == 1
        assert weights(world) == expected


def test_what_is_left_changes_no_result(world: World, prefect_server: None) -> None:
    """Red if one of the list of those that are left changed the weights, or ended in a traceback."""
    listed = variables.in_python() | variables.in_shared_libraries()
    groups = [
        {name for name in listed if any(fnmatchcase(name, pattern) for pattern in patterns)}
        for patterns in KEPT.values()
    ]
    assert world.run(*COMMANDS["numba"], timeout=600).returncode == 0
    expected = weights(world, "numba")
    places = {"NUMBA_CACHE_DIR": str(world.root / "odd")}
    done = world.run(*COMMANDS["numba"], timeout=600, **dict.fromkeys(set().union(*groups), "1") | places)
    assert done.returncode == 0, done.stderr
    assert weights(world, "numba") == expected
    for names in groups:
        done = world.run(*COMMANDS["numba"], timeout=600, **dict.fromkeys(names, "odd") | places)
        if done.returncode:
            assert (done.returncode, done.stderr.count("Error: ")) == (2, 1), f"{names}: {done.stderr}"
        else:
            assert weights(world, "numba") == expected, names
