"""What waits while something is gone: a promotion without its Prefect server, a training without its store."""

import time
from pathlib import Path
from typing import Any

import httpx

from tests.faults.kills import start
from tests.faults.outages import AWAY, LONG_AWAY, Server, locked
from tests.faults.worlds import NAME, SAMPLE, TRAIN, Worlds, check_whole, put_in_use
from tests.mlflow_store import champion_of, versions_of
from tests.polling import until
from tests.world import Registry

ASKS = "waits for a person's answer"


def asked(worlds: Worlds, folder: Path, seed: int) -> None:
    """Kill the Prefect server while a promotion waits for an answer: it waits on, or ends and asks again."""
    world = worlds.copy(folder / "world")
    client, output = put_in_use(world, Registry.POOR), world.root / "output.txt"
    seconds = (AWAY, LONG_AWAY)[seed % 2]
    arguments = ("promote", str(Registry.GOOD), *SAMPLE)
    with Server("prefect", world) as server:
        variables = {**server.variables, "SENTIFLOW_PROMOTION_APPROVAL": "true"}
        process = start(world, "sentiflow", *arguments, **variables)
        until(lambda: ASKS in output.read_text(), "a question", 300)
        (waiting,) = until(lambda: _paused(server), "a flow run to pause")
        server.kill()
        time.sleep(seconds)
        assert champion_of(client, NAME) == Registry.POOR, "promoted without an answer"
        server.start()
        if waited := process.poll() is None:
            _answer(server, waiting)
            waited = process.wait(300) == 0  # it may have given the server up already
        if not waited:
            told = output.read_text()
            assert process.wait() == 3 and told.count("Error: ") == 1 and "Traceback" not in told, told[-3_000:]
            assert champion_of(client, NAME) == Registry.POOR, "promoted by a command that failed"
            process = start(world, "sentiflow", *arguments, **variables)
            until(lambda: output.read_text().count(ASKS) == 2, "a second question", 300)
            (again,) = until(lambda: {*_paused(server)} - {waiting}, "a flow run to pause")
            assert waiting not in _paused(server), "the first question can still be answered, and nobody listens"
            _answer(server, again)
            assert process.wait(120) == 0, output.read_text()[-3_000:]
        assert not _paused(server), "a question is left"
    check_whole(world, Registry.GOOD)


def _paused(server: Server) -> list[str]:
    """The flow runs that wait for a person, by their ids."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
    return [str(run["id"]) for run in _post(server, "/flow_runs/filter", wanted)]


def _answer(server: Server, flow_run: str) -> None:
    """Answer as the form does; an answer that a busy server took, and said 503 to, is refused the second time."""
    given = {"run_input": {"decision": "promote", "reason": "looks fine", "name": "ada"}}

    def is_taken() -> bool:
        taken = _post(server, f"/flow_runs/{flow_run}/resume", given)["status"] == "ACCEPT"
        return taken or flow_run not in _paused(server)

    until(is_taken, "the answer to be taken")


def _post(server: Server, path: str, body: object) -> Any:
    """The server's answer; while it says 503, as its database is locked, it is asked again."""

    def ask() -> httpx.Response | None:
        answer = httpx.post(f"{server.variables['PREFECT_API_URL']}{path}", json=body, trust_env=False, timeout=60)
        return None if answer.status_code == 503 else answer

    return until(ask, "an answer").raise_for_status().json()


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
