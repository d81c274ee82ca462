"""A team's backup, made while a training runs and the API answers, and restored in another place."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from mlflow.entities import LoggedModelStatus

from tests.faults.campaign import Case, Red
from tests.faults.worlds import Worlds, repeated
from tests.stack import snapshot
from tests.stack.team import Team, team, until

TEXTS = ["The acting was dull.", "A warm and funny film.", "xyzzy", "not good, not bad"]
SHORT = {"recipe": "tutorial", "sequence_length": 40}


def restored_elsewhere(_worlds: Worlds, _folder: Path, seed: int) -> dict[str, int]:
    """Back one team up in mid training, and restore it as another; both hold the same."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(team(SENTIFLOW_SCHEDULE_DATASET="sample")) for _ in range(2))
        first.run("make", "up")
        with first.logged_in():
            _ends(first, "train", config=SHORT, seed=seed)
            _ends(first, "promote", dataset="sample", version=1)
            until(lambda: first.answer("/readyz"), 30)
            training = first.start("train", config={**SHORT, "epochs": 900}, seed=seed + 1)
            until(
                lambda: (run := first.training_of(training)) and "train/loss" in run.data.metrics, 120, first.log
            )
            before, logged = _kept(first), _epochs(first, training)
            with repeated(lambda: first.answer("/predict", {"texts": TEXTS})) as answers:  # None for a failure
                first.run("make", "backup")
            until(lambda: _epochs(first, training) > logged, 30, first.log)
            assert first.training_of(training).info.status == "RUNNING", "the training ended before the backup did"
        (backup,) = (first.project / "backups").iterdir()
        first.run("make", "down")
        second.run("make", "env")
        shutil.copytree(first.project / "secrets", second.project / "secrets", dirs_exist_ok=True)
        shutil.copytree(backup, second.project / "backups" / backup.name)
        second.run("make", "restore", f"BACKUP={backup.name}")
        with second.logged_in():
            until(lambda: second.answer("/readyz"), 60)
            after = _kept(second)
    for kind, expected in before.items():
        assert after[kind] == expected, f"{kind}: {after[kind]} instead of {expected}"
    assert answers and None not in answers, "the API failed during the backup"
    return {"runs": len(before["runs"]), "files": len(before["files"]), "answers meanwhile": len(answers)}


def _epochs(given: Team, training: UUID) -> int:
    """How many epochs a training has logged."""
    return len(given.mlflow.get_metric_history(given.training_of(training).info.run_id, "train/loss"))


def _ends(given: Team, flow: str, **parameters: Any) -> None:
    done = given.ended(given.start(flow, **parameters))
    assert done.state_name == "Completed", done.state and done.state.message


def _kept(given: Team) -> dict[str, Any]:
    """What must be the same afterwards: all but the run that goes on."""
    everything = snapshot.of_mlflow(given.mlflow)
    ended = {key: run for key, run in everything["runs"].items() if run["info"]["status"] != "RUNNING"}
    ready = LoggedModelStatus.READY.to_int()
    models = {key: model for key, model in everything["models"].items() if model["status"] == ready}
    store = given.root / "state" / "volumes" / "mlflow" / "artifacts"
    every_file = snapshot.of_files(store).items()
    files = {name: digest for name, digest in every_file if not {*ended, *models}.isdisjoint(Path(name).parts)}
    scored = [each["score"] for each in given.answer("/predict", {"texts": TEXTS})["predictions"]]
    registered = {name: everything[name] for name in ("experiments", "registered", "versions")}
    return {**registered, "runs": ended, "models": models, "files": files, "scores": scored}


F10 = Case(
    "F10",
    "A backup made while a training runs and the API answers is whole: restored elsewhere, all is the same.",
    "A try backs up the team's stack in the middle of a training and restores it as another stack. Ended runs "
    "with all their values, models, versions, aliases, the digest of every file, and scores must be the same.",
    restored_elsewhere,
    short=0,
    long=5,
    reds=(
        Red(
            "the artifacts are left out", "stack/backup.sh",
            'then what=artifacts;', 'then what=--files-from=/dev/null;', "it never came to hold",
        ),
    ),
)  # fmt: skip
