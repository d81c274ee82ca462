"""The settings of what runs unattended: schedules, notifications, housekeeping, monitoring."""

from pathlib import Path
from urllib.parse import urlparse
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

OFF = "off"


class UnattendedSettings(BaseSettings):
    """A part of ``Settings``.

    A schedule is a cron line (``0 3 * * 1``), an interval (``every 30s``, ``15m``, ``6h``, ``7d``) or ``off``.
    """

    schedule_train: str = Field(
        default="0 3 * * 1",
        description="When to train: weekly, on Monday at 3, when nobody waits for the machine.",
    )
    schedule_promote: str = Field(
        default=OFF, description="When to hold the newest version against the champion; off, a person decides."
    )
    schedule_score: str = Field(
        default=OFF, description="When to score SENTIFLOW_SCHEDULE_SOURCE into SENTIFLOW_SCHEDULE_OUTPUT."
    )
    schedule_housekeeping: str = Field(
        default="0 5 * * *", description="When to clean up: daily, after the training."
    )
    schedule_monitor: str = Field(
        default=OFF, description="When to look for drift; it needs SENTIFLOW_TEXT_LOG, so it is off, too."
    )
    schedule_timezone: str = Field(
        default="UTC", description="Time zone of cron lines: UTC has no hour that is left out or comes twice."
    )
    schedule_recipe: str = Field(
        default="tuned", min_length=1, description="Recipe of scheduled trainings: a name, or a TOML file."
    )
    schedule_dataset: str = Field(
        default="imdb", min_length=1, description="Dataset of scheduled trainings, promotions and monitoring."
    )
    schedule_promotes: bool = Field(
        default=False, description="Scheduled trainings put their version in use if the gate says yes."
    )
    schedule_source: Path | None = Field(
        default=None, description="What scheduled scoring reads: a table or folder."
    )
    schedule_output: Path | None = Field(
        default=None, description="The Parquet file that scheduled scoring writes."
    )
    prefect_port: int = Field(
        default=4200,
        ge=1,
        le=65_535,
        description="Where `sentiflow schedule` starts a Prefect server if none is set.",
    )

    training_wait: float = Field(
        default=21_600.0,
        ge=0,
        description="Seconds that a training from a deployment waits for another one of the same model to end.",
    )
    lock_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL that keeps trainings on several machines apart; without it files in the data "
        "folder do, which is enough for one machine.",
    )
    notify_url: SecretStr | None = Field(
        default=None,
        description="Webhook that is told of failed and crashed flow runs; a secret, as such addresses are.",
    )
    notify_timeout: float = Field(default=10.0, gt=0, le=120, description="Seconds to wait for that webhook.")

    keep_files_days: float = Field(
        default=30.0, ge=0, description="Days after which prepared datasets that nothing used are removed."
    )
    keep_runs_days: float | None = Field(
        default=None,
        gt=0,
        description="Days after which MLflow runs without a version are deleted; without it never.",
    )
    keep_flow_runs_days: float | None = Field(
        default=None,
        gt=0,
        description="Days after which ended flow runs are deleted from Prefect; without it never.",
    )

    text_log: Path | None = Field(
        default=None,
        description="Folder for texts that were scored or served, for monitoring; without it none is kept.",
    )
    text_log_mb: float = Field(
        default=64.0, gt=0, description="Most megabytes of that folder; the oldest texts go first."
    )
    monitor_psi: float = Field(
        default=0.2,
        gt=0,
        description="Population stability index from which a figure has drifted: a rule of thumb.",
    )
    monitor_alpha: float = Field(
        default=0.001, gt=0, lt=1, description="Chance at which the two-sample test must call a drift, too."
    )
    monitor_least: int = Field(
        default=200, ge=20, description="Texts below which a look tells too little; they wait for the next one."
    )

    @field_validator("schedule_timezone")
    @classmethod
    def _is_time_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            raise ValueError("expected the name of a time zone, such as Europe/Berlin") from err
        return value

    @field_validator("schedule_source", "schedule_output", "text_log")
    @classmethod
    def _absolute_path(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("notify_url")
    @classmethod
    def _is_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlparse(value.get_secret_value())
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("expected an http(s) address")
        return value

    @field_validator("lock_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("expected a PostgreSQL address, postgresql://user:password@host/database")
        return value
