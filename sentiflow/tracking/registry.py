"""What the registry holds, and where the UI shows it, read for people and commands."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from sentiflow.output import without_login
from sentiflow.settings import Settings
from sentiflow.tracking.champion import need_model
from sentiflow.tracking.client import connect, experiment_id, tracking_errors
from sentiflow.tracking.types import fraction

_RUNS = 100  # asked for at a time
_RUN_ID = re.compile(r"[\w-]+")  # whoever registers a version may write anything in its place


@dataclass(frozen=True)
class VersionRow:
    """One line of the table of versions; a figure is None when the version does not say."""

    number: int
    aliases: tuple[str, ...]
    registered: datetime
    recipe: str
    seed: str
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    gate: str
    run: str


def ui_url(settings: Settings) -> str:
    """Base address of the MLflow UI: the settings', else the server's own, else where ``sentiflow ui`` listens.

    Without a login: links stand in descriptions and messages.
    """
    uri, told = settings.tracking_uri, "ui_url" in settings.model_fields_set
    own = uri.startswith(("http://", "https://")) and not told
    return without_login(uri if own else settings.ui_url).rstrip("/")


def run_url(client: MlflowClient, settings: Settings, run_id: str) -> str:
    """Address of a run in the MLflow UI."""
    return f"{ui_url(settings)}/#/experiments/{experiment_id(client, settings)}/runs/{run_id}"


def versions_with_aliases(name: str, settings: Settings) -> list[VersionRow]:
    """All versions of a registered model, newest first.

    Raises:
        UsageError: it has none.
        WorldError: the store does not answer.
    """
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        versions = need_model(client, name)
        aliases = client.get_registered_model(name).aliases  # a search for versions gives none
        names = _run_names(client, {str(version.run_id) for version in versions.values()})
    return [
        _version_row(version, [alias for alias, of in aliases.items() if int(of) == number], names)
        for number, version in reversed(versions.items())
    ]


def _run_names(client: MlflowClient, run_ids: Collection[str]) -> dict[str, str | None]:
    """Names of some runs; those that were deleted, and what is no run's id, have none."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    wanted = sorted(run_id for run_id in run_ids if _RUN_ID.fullmatch(run_id))
    names: dict[str, str | None] = {}
    for first in range(0, len(wanted), _RUNS):
        ids = ", ".join(f"'{run_id}'" for run_id in wanted[first : first + _RUNS])
        found = client.search_runs(experiments, f"attributes.run_id IN ({ids})", max_results=_RUNS)
        names |= {run.info.run_id: run.info.run_name for run in found}
    return names


def _version_row(version: ModelVersion, aliases: list[str], run_names: dict[str, str | None]) -> VersionRow:
    tags = version.tags
    low, at, high = (tags.get(f"test.accuracy{end}") for end in ("_low", "", "_high"))
    outcome = tags.get("gate.outcome")
    return VersionRow(
        number=int(version.version),
        aliases=tuple(sorted(aliases)),
        registered=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        recipe=tags.get("recipe", "-"),
        seed=tags.get("seed", "-"),
        accuracy=fraction(at),
        accuracy_low=fraction(low),
        accuracy_high=fraction(high),
        gate=f"{outcome} against {tags.get('gate.against', '-')}" if outcome else "-",
        run=run_names.get(str(version.run_id)) or str(version.run_id)[:8],
    )
