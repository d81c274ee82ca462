"""A training that waits while its store is locked."""

import time
from pathlib import Path

from tests.faults.kills import start
from tests.faults.outages import locked
from tests.faults.worlds import NAME, TRAIN, Worlds, check_whole, put_in_use
from tests.mlflow_store import versions_of
from tests.polling import until
from tests.world import Registry

LOCKED = 60  # seconds; three times as long as a store is waited for
IN_EPOCHS = ("epoch 1/", "training on", "epoch 2/")  # there are six: each of the next three waits for 20 s
STEPS = ("epoch 1/", "test accuracy", "training on", "registered ", "epoch 2/")


def shut_out(worlds: Worlds, folder: Path, seed: int) -> None:
    """Lock MLflow's database in a training for longer than it is waited for: it goes on, or says so and ends."""
    world = worlds.copy(folder / "world")
    put_in_use(world, Registry.POOR)
    step, output = STEPS[seed % len(STEPS)], world.root / "output.txt"
    arguments = (*TRAIN, "--set", "epochs=6", "--seed", "7")
    process = start(world, "sentiflow", *arguments)
    until(lambda: step in output.read_text() or process.poll() is not None, f"it to say {step!r}", 300)
    assert process.poll() is None, f"it had ended with {process.poll()} before the store was locked"
    with locked(world):
        time.sleep(LOCKED)
        told = output.read_text()
        assert "locked for more than 20 s" in told, f"nothing is said meanwhile: {told[-3_000:]}"
    code, told = process.wait(600), output.read_text()
    assert not (code and step in IN_EPOCHS), f"it ended with {code}: {told[-3_000:]}"
    assert code in (0, 3) and "Traceback" not in told and told.count("Error: ") == (1 if code else 0), told[
        -3_000:
    ]
    again = world.run(*arguments, timeout=600, PREFECT_API_URL="")
    assert again.returncode == 0, again.stderr
    check_whole(world, Registry.POOR)
    assert len(versions_of(put_in_use(world, Registry.POOR), NAME)) == 4
