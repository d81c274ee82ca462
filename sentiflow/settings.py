"""Settings, read from `SENTIFLOW_*` variables and `.env`."""

import difflib
import logging
import os
import re
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlparse
from zoneinfo import ZoneInfo

from dotenv.parser import parse_stream
from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from sentiflow.environment import here
from sentiflow.errors import UsageError, first_line, plain_reason
from sentiflow.redaction import redact

logger = logging.getLogger(__name__)

PREFIX = "SENTIFLOW_"
OFF = "off"  # no schedule
_SQLITE = "sqlite:///"

Notification = Literal[
    "failed", "crashed", "approval", "promoted", "refused", "rolled-back", "drifted", "dropped",
    "late", "success",
]  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # of the service
_Hash = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern="^[0-9a-fA-F]{64}$")]
_HostName = Annotated[str, StringConstraints(pattern=r"^([\w.-]+|\[[0-9A-Fa-f:.]+\])$")]


def _split(value: Any) -> Any:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


_COMMAS = NoDecode, BeforeValidator(_split)


def _checkout() -> Path | None:
    """The checkout that this code runs from, if it does from one."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() else None


def project_root() -> Path:
    """The checkout that this code runs from, or the current folder when it was installed elsewhere."""
    return _checkout() or here()


INSTALL_TEAM = 'Install the extra: requirements-team.lock of a checkout, or pip install "sentiflow[team]"'


class Settings(BaseSettings):
    """Every setting, with its default and the reason for it; relative paths are of the current folder."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    # Stores, folders and downloads
    tracking_uri: str = Field(default_factory=lambda: f"sqlite:///{project_root() / 'mlruns' / 'mlflow.db'}")
    """MLflow's store; SQLite because it needs no server. An http(s) address uses a server."""
    artifact_root: Path | None = None
    """Folder for artifacts; by default `artifacts` beside the SQLite file. An MLflow server decides for itself."""
    experiment: str = Field("sentiflow", min_length=1)
    """MLflow experiment of all runs: one, so that any two runs can be compared."""
    data_dir: Path = Field(default_factory=lambda: project_root() / "data")
    """Downloads, prepared datasets, locks, work files, unfinished sweeps, and Prefect's database. Not in git."""
    imdb_url: str | None = None
    """Mirror of imdb.npz (http(s) or file URL, or a path) in place of Keras's; needs SENTIFLOW_IMDB_SHA256."""
    imdb_sha256: _Hash | None = None
    """SHA-256 of the mirror's imdb.npz."""
    word_index_url: str | None = None
    """Mirror of imdb_word_index.json in place of Keras's; needs SENTIFLOW_WORD_INDEX_SHA256."""
    word_index_sha256: _Hash | None = None
    """SHA-256 of the mirror's imdb_word_index.json."""
    download_timeout: float = Field(30.0, gt=0, le=1_800)
    """Seconds without an answer after which a download attempt ends."""
    download_retries: int = Field(3, ge=0, le=10)
    """Further attempts after a failed download, some seconds apart; all together end after 30 minutes a file."""
    ui_url: str = "http://127.0.0.1:5000"
    """Address of `sentiflow ui`, and of links to MLflow runs; unset, they lead to a store that is a server, else
    to the `sentiflow ui` that runs."""

    # Training
    start_afresh_after: int = Field(10, ge=0)
    """After so many versions in a row that started from a table's champion one starts from the base: what is
    trained on and on may drift. 0 for never."""

    # Promotion
    gate_min_accuracy: float | None = Field(None, ge=0, le=1)
    """Minimum test accuracy of a champion. Without it 0.8, and none where `nb-ngrams` is compared with."""
    gate_baseline: bool = True
    """A version of a table of your own must not be worse, beyond chance, than the baseline `nb-ngrams`."""
    gate_margin: float = Field(0.0, ge=0, le=1)
    """The lower end of the 95% interval of candidate less champion in accuracy must be above minus this."""
    gate_slice_margin: float = Field(0.02, ge=0, le=1)
    """Maximum accuracy that the short, the long or the truncated reviews may lose, unless it may be chance."""
    gate_behaviour: Path | None = None
    """A table with the columns text, label and group: none of its groups may lose more than that either."""
    gate_latency_ms: float = Field(50.0, gt=0)
    """Maximum milliseconds for one text of full length, the median."""
    gate_size_mb: float = Field(100.0, gt=0)
    """Maximum megabytes of the packaged model: it is copied to every machine that serves it."""
    gate_reproduced: bool = False
    """A candidate must have been trained again with the same outcome, bit for bit; it costs a second training."""
    promotion_approval: bool = False
    """A version that passes waits for a person: `sentiflow promote 3 --approve`, or the deployment `promote`.
    Once one was asked, a tag of the registered model asks wherever it is promoted."""

    # The service
    serve_host: str = Field("127.0.0.1", min_length=1)
    """Where `sentiflow serve` listens: this machine alone."""
    serve_port: int = Field(8000, ge=0, le=65_535)
    """Port of `sentiflow serve`; 0 takes a free one."""
    serve_workers: int = Field(1, ge=1, le=64)
    """Processes that answer on this port; more than one where a core is not enough."""
    serve_hosts: Annotated[tuple[_HostName, ...], *_COMMAS] = ()
    """Further host names under which the service may be called, with commas between them; others get 421."""
    serve_token: SecretStr | None = None
    """Bearer token that every request must carry, except those for pages and health checks."""
    serve_metrics_open: bool = False
    """/metrics asks for no token."""
    serve_max_body: int = Field(4_000_000, ge=1_000)
    """Maximum bytes of a request; larger ones get 413."""
    serve_max_text: int = Field(100_000, ge=1)
    """Maximum characters of a text (the longest review has 14,000); longer ones get 422."""
    serve_max_texts: int = Field(256, ge=1)
    """Maximum texts of a request; more get 422."""
    serve_queue: int = Field(2_048, ge=1)
    """Maximum texts that wait; requests beyond get 429 and may be repeated later."""
    serve_poll: float = Field(1.0, gt=0, le=3_600)
    """Seconds between two checks for a new champion."""

    # Sweeps
    task_runner: Literal["threads", "processes", "dask"] = "processes"
    """What runs a sweep's trials side by side: `threads` or `processes` of this machine, or `dask` for several,
    which then score, too."""
    dask_address: Annotated[str, StringConstraints(pattern="^(tcp|tls|wss?)://")] | None = None
    """Dask's scheduler, such as tcp://10.0.0.5:8786; needed by `dask`. Its workers share SENTIFLOW_DATA_DIR
    and SENTIFLOW_TRACKING_URI with this machine."""

    # Schedules: a cron line (``0 3 * * 1``), an interval (``every 30s``, ``every 15m``, ``every 6h``) or ``off``
    schedule_train: str = "0 3 * * 1"
    """When to train: weekly, on Monday at 3, when the machine is idle."""
    schedule_promote: str = OFF
    """When to compare the best version with the champion; off, a person decides."""
    schedule_score: str = OFF
    """When to score; SENTIFLOW_SCHEDULE_PARAMETERS says what, and where to."""
    schedule_housekeeping: str = "0 5 * * *"
    """When to clean up: daily, after the training."""
    schedule_monitor: str = OFF
    """When to check for drift; it needs SENTIFLOW_PREDICTION_LOG_DIR, so it is off by default."""
    schedule_timezone: ZoneInfo = ZoneInfo("UTC")
    """Time zone of cron lines: UTC has no hour that is left out or comes twice."""
    schedule_recipe: str | None = None
    """Recipe of scheduled trainings, a name or a TOML file; by default `ngrams`, for your own tables `fitted`."""
    schedule_dataset: str = Field("imdb", min_length=1)
    """Dataset of scheduled trainings, whose model is promoted, scores and is monitored; tables are read anew."""
    schedule_trainings: int = Field(1, ge=1)
    """Runs of the deployment `train` at once, for trainings of several models: of one model it is one."""
    schedule_promote_after_train: bool = False
    """Scheduled trainings promote their version if all checks pass."""
    schedule_table: dict[str, str | dict[str, int | Literal["skip", "between"]]] = {}
    """How that dataset is read if it is a table of your own, as JSON, as by the options of `sentiflow train`:
    `{"text_column": "review", "label_column": "rating", "labels": {"good": 1, "bad": 0}, "max_rejects": "2%"}`.
    The text column is that of scheduled scoring, too."""
    schedule_parameters: dict[str, dict[str, Any]] = {}
    """Further parameters of the deployments' runs, by flow, as JSON:
    `{"score": {"source": "/inputs/new.csv", "output": "/data/scores.csv"}, "train": {"seed": 7}}`."""
    prefect_port: int = Field(4200, ge=1, le=65_535)
    """Port of the Prefect server that `sentiflow schedule` starts if none is set."""

    # Locks and notifications
    lock_timeout: float = Field(21_600.0, ge=0, le=1e9)
    """Seconds that a training from a deployment waits for another one of the same model to end."""
    notify_url: SecretStr | None = None
    """Where to send messages, with spaces between several: webhooks that take JSON (http, https), or addresses of
    Apprise, such as slack:// and mailto://."""
    notify_on: Annotated[tuple[Notification, ...], *_COMMAS] = tuple(
        each for each in get_args(Notification) if each != "success"
    )
    """Events that send a message, with commas between them; `success` is possible, too."""

    # Housekeeping
    keep_files_days: float = Field(60.0, ge=0)
    """Days after which prepared datasets and unfinished sweeps that nothing used are removed."""
    keep_runs_days: float | None = Field(None, gt=0, le=100_000)
    """Days after which MLflow runs without a version are deleted; without it never."""

    # Monitoring
    prediction_log_dir: Path | None = None
    """Folder for texts that were scored or served, for monitoring; without it none is kept."""
    prediction_log_mb: float = Field(64.0, ge=1, le=1e9)
    """Maximum megabytes of the log; the oldest texts are deleted first."""
    monitor_psi: float = Field(0.2, gt=0)
    """Population stability index from which a feature counts as drifted: a rule of thumb."""
    monitor_alpha: float = Field(0.001, gt=0, lt=1)
    """Significance level of the two-sample test; a feature has drifted if the index and this test both say so."""
    monitor_min_texts: int = Field(200, ge=20)
    """Minimum texts of a drift check; fewer wait for the next one."""
    monitor_drop: float = Field(0.0, ge=0, lt=1)
    """Drop of the accuracy in use, as a fraction, that raises no alarm; an alarm says that more was lost."""

    @field_validator("serve_token")
    @classmethod
    def _is_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("expected letters, digits and -._~+/= alone")
        return value

    @field_validator("notify_url")
    @classmethod
    def _are_addresses(cls, value: SecretStr | None) -> SecretStr | None:
        for address in value.get_secret_value().split() if value is not None else []:
            if address.startswith("http"):
                _need_http(address)
            elif not re.match(r"[a-z][a-z0-9]*://.", address):
                raise ValueError("expected addresses with :// in each, and spaces between")
        return value

    @field_validator("data_dir", "artifact_root", "prediction_log_dir", "gate_behaviour")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else _absolute(value)

    @field_validator("data_dir")
    @classmethod
    def _holds_a_database(cls, value: Path) -> Path:
        return _need_plain(value)

    @field_validator("tracking_uri")
    @classmethod
    def _with_absolute_file(cls, value: str) -> str:
        if value in (f"{_SQLITE}:memory:", "sqlite://"):
            raise ValueError("a store in memory would be gone with the process; name a file")
        if not value.startswith(_SQLITE):
            if "://" not in value or value.startswith("file:"):
                raise ValueError("expected sqlite:///path/to/mlflow.db or the http(s) address of an MLflow server")
            _check_login(value)
            return value
        return f"{_SQLITE}{_need_plain(_absolute(Path(value.removeprefix(_SQLITE))))}"

    @field_validator("ui_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        _need_http(value)
        return value.rstrip("/")

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file behind the tracking store, or None for any other store."""
        return Path(self.tracking_uri.removeprefix(_SQLITE)) if self.tracking_uri.startswith(_SQLITE) else None

    @property
    def artifacts(self) -> Path | None:
        """Folder for artifacts, or None when an MLflow server chooses the place."""
        if (file := self.sqlite_file) is None:
            return None
        return self.artifact_root or file.parent / "artifacts"


def _absolute(path: Path) -> Path:
    try:
        return here() / path.expanduser()
    except RuntimeError as err:
        raise ValueError("there is no such home folder") from err


def _need_plain(path: Path) -> Path:
    if {"%", "?"} & set(str(path)):
        raise ValueError("a path with % or ? means another one in the address of a database")
    return path


def _need_http(address: str) -> None:
    _check_login(address)
    parts = urlparse(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an http(s) address")


def _check_login(address: str) -> None:
    """Refuse a login that libraries read in different ways, and repeat; the error gives none of it away."""
    try:
        parts = urlparse(address)
        clear = parts.netloc.count("@") <= 1 and (parts.port or 0) >= 0
    except ValueError:
        clear = False
    if not clear:
        raise ValueError("expected a valid address; in logins, write @ : / ? # [ ] as %40 %3A %2F %3F %23 %5B %5D")


def load_settings(**options: Any) -> Settings:
    """Read the settings from options, then the environment, then ``.env`` at the root of the project."""
    file = project_root() / ".env"
    for name in [*os.environ, *_names_in(file)]:
        if name.startswith(PREFIX):
            _warn_if_unknown(name)
    hint = "Correct it in the environment or in .env."
    try:
        settings = Settings(_env_file=file if file.is_file() else None, **options)
    except SettingsError as err:  # the JSON of a setting that has parts
        field = str(err).partition('"')[2].partition('"')[0]
        raise UsageError(f"{PREFIX}{field.upper()}: expected JSON.", hint) from None
    except ValidationError as err:
        first = err.errors()[0]
        field = str(first["loc"][0])
        secret = SecretStr in get_args(Settings.model_fields[field].annotation)
        got = "" if secret else f", got {redact(str(first['input']))!r}"
        name = PREFIX + field.upper()
        if field in options:
            name, hint = f"--{field.removeprefix('schedule_').replace('_', '-')}", ""
        # Without pydantic's own error, which shows the value: it may hold a password.
        raise UsageError(f"{name}: {plain_reason(first['msg'])}{got}.", hint) from None
    if "tracking_uri" not in settings.model_fields_set:
        _warn_if_elsewhere(os.environ.get("MLFLOW_TRACKING_URI", ""), settings.tracking_uri)
    return settings


def _names_in(file: Path) -> list[str]:
    """The names that ``.env`` sets; of its lines pydantic-settings ignores those that it cannot read."""
    if not file.is_file():
        return []
    try:
        lines = list(parse_stream(StringIO(file.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as err:
        hint = "Save it as UTF-8, and see whose it is: what `sudo make` made may be root's."
        raise UsageError(f"{file} cannot be read: {first_line(err)}.", hint) from None
    for line in lines:
        if PREFIX in line.original.string.upper() and (line.error or (line.key and line.value is None)):
            problem = f"{file}: line {line.original.line} cannot be read."
            raise UsageError(problem, "Write NAME=value, and close its quotes.")
    return [line.key for line in lines if line.key]


@cache
def _warn_if_unknown(name: str) -> None:
    """Warn of a variable that is no setting, once in a process: settings are read again and again."""
    known = [PREFIX + field.upper() for field in Settings.model_fields]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)  # all begin alike
        logger.warning("Setting %s is unknown%s", name, f"; did you mean {near[0]}?" if near else ".")


@cache
def _warn_if_elsewhere(named: str, store: str) -> None:
    """Warn whoever named another store by MLflow's own variable; MLflow sets it, too, to the store in use."""
    if named and not store.endswith(named.removeprefix("sqlite:///")):
        logger.warning("MLFLOW_TRACKING_URI is not read; name the store by SENTIFLOW_TRACKING_URI.")
