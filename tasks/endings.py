"""How runs ended that the store could not be told of, kept in the data folder until the next start tells it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow.entities import Run

from sentiment.files import publish
from sentiment.settings import Settings
from tasks.creation import CREATION

_STATUSES = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        status: FINISHED, FAILED or KILLED.
        why: without a full stop.
    """

    status: str
    why: str


def keep(key: str, ending: Ending, settings: Settings) -> None:
    """Keep how a run ended.

    Args:
        key: the run's id, or the tag of its creation when the store never answered.
        ending: of the run.
        settings: where the data folder is.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(asdict(ending), ensure_ascii=False)
    publish(folder(settings) / f"{key}.json", lambda partial: partial.write_text(text, encoding="utf-8"))


def find(run: Run, settings: Settings) -> Ending | None:
    """How a run ended; None if nothing that can be read was kept on this machine."""
    for file in _files(run, settings):
        try:
            ending = Ending(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if ending.status in _STATUSES:
            return ending
    return None


def drop(run: Run, settings: Settings) -> None:
    """Forget how a run ended: the store knows."""
    for file in _files(run, settings):
        file.unlink(missing_ok=True)


def folder(settings: Settings) -> Path:
    """Where endings are kept, one file a run."""
    return settings.data_dir / "endings"


def _files(run: Run, settings: Settings) -> list[Path]:
    keys = run.info.run_id, run.data.tags.get(CREATION, "")
    return [folder(settings) / f"{key}.json" for key in keys if key.isalnum()]
