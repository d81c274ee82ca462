"""A Dask cluster: its scheduler is reached, and its workers score."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sentiflow.batch.worker import BulkScorer, Scores
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.redaction import redact, without_secrets
from sentiflow.scoring import TextScorer
from sentiflow.settings import INSTALL_TEAM, Settings

REACH_SECONDS = 10
_CERTIFICATE = "Name its files in " + ", ".join(
    f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
)


def check_dask(settings: Settings) -> None:
    if settings.dask_address is None:
        hint = "Set SENTIFLOW_DASK_ADDRESS, say to tcp://127.0.0.1:8786, or SENTIFLOW_TASK_RUNNER to processes."
        raise UsageError("The task runner dask needs the address of its scheduler.", hint)
    try:
        from distributed import Security
    except ImportError as err:
        raise UsageError(f"The task runner dask needs Dask: {err}.", INSTALL_TEAM) from err
    if settings.dask_address.startswith("tls://"):
        try:
            context = Security().get_connection_args("client")["ssl_context"]  # type: ignore[no-untyped-call]
        except OSError as err:
            raise ExternalError(f"Dask's certificate or key cannot be read: {err}.", _CERTIFICATE) from err
        if context is None:
            raise UsageError(f"The Dask scheduler at {settings.dask_address} needs a certificate.", _CERTIFICATE)


def dask_client(settings: Settings) -> Any:  # distributed is not typed
    """Connect to the scheduler, and wait until it has a worker; the caller closes the client."""
    check_dask(settings)
    from distributed import Client

    client: Any = None
    try:
        client = Client(  # type: ignore[no-untyped-call]
            settings.dask_address, timeout=REACH_SECONDS, set_as_default=False
        )
        client.wait_for_workers(1, timeout=REACH_SECONDS)
    except (OSError, TimeoutError) as err:
        if client is not None:
            client.close()
        raise ExternalError(
            f"No Dask scheduler with a worker answers at {redact(str(settings.dask_address))}.",
            "Start `dask scheduler` and `dask worker`, or correct SENTIFLOW_DASK_ADDRESS.",
        ) from without_secrets(err)
    return client


def threads_of(client: Any) -> int:
    """How many calls the cluster's workers take at a time."""
    return int(sum(client.nthreads().values()))


class DaskWorkers:
    """The cluster in place of ``Workers``: each of its workers gets the scorer once, and the same code scores."""

    def __init__(self, settings: Settings, scorer: TextScorer, wanted: int | None) -> None:
        self._settings, self._scorer, self._wanted = settings, scorer, wanted

    def __enter__(self) -> "DaskWorkers":
        """Connect, and send the scorer to every worker; raises what ``dask_client`` raises."""
        self._client = dask_client(self._settings)
        there = threads_of(self._client)
        self.number = min(self._wanted or there, there)
        try:
            self._sent = self._client.scatter(BulkScorer(self._scorer), broadcast=True, hash=False)
        except Exception as err:
            self._client.close()
            hint = "Install the same release of Sentiflow, with its packages, where they run."
            raise ExternalError(f"The Dask workers cannot take the model: {first_line(err)}", hint) from err
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def score(self, texts: Sequence[str]) -> Callable[[], Scores]:
        """Begin to score some texts; what is returned waits for it, and raises ExternalError if they are lost."""
        return partial(_result, self._client.submit(BulkScorer.score, self._sent, texts, pure=False))


def _result(future: Any) -> Scores:
    from distributed import CancelledError, KilledWorker

    try:
        scores: Scores = future.result()
    except (KilledWorker, CancelledError, OSError) as err:
        raise ExternalError(f"Dask failed: {first_line(err)}", "Run again when its workers do.") from err
    return scores
