"""What started a run, and what it is called."""

from dataclasses import dataclass

from mlflow.entities import Run


@dataclass(frozen=True)
class Started:
    """A start by a call of a function; ``operations.job`` has that of a flow run of Prefect's."""

    name: str
    source: str = "sentiflow.train"
    by: str = "by hand"
    patience: float = 0.0
    """Seconds to wait for another training of the model; a person's fails at once."""

    def tags(self) -> dict[str, str]:
        """Further tags of a run."""
        return {}

    def publish(self, text: str, url: str, key: str, about: str) -> None:
        """Show what came of it, and where it is in MLflow, on a page of what started it."""

    def crash(self, run: Run, why: str) -> None:
        """Mark what another run, whose process was killed, was part of as crashed."""
