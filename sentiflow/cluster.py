"""The Dask cluster of the settings."""

from typing import Any

from sentiflow.errors import UsageError, WorldError
from sentiflow.output import redact, without_secrets
from sentiflow.settings import Settings

REACH_SECONDS = 10
_MISSING = "Install the extra: pip install 'sentiflow[team]'"
_CERTIFICATE = "Name its files in " + ", ".join(
    f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
)


def check_dask(settings: Settings) -> None:
    """Check what Dask needs of the settings and of this environment.

    Raises:
        UsageError: there is no address, no certificate for one of tls://, or Dask is not installed.
        WorldError: the certificate's files cannot be read.
    """
    if settings.dask_address is None:
        raise UsageError(
            "The task runner dask needs the address of its scheduler.",
            "Set SENTIFLOW_DASK_ADDRESS, say to tcp://127.0.0.1:8786, or SENTIFLOW_TASK_RUNNER to processes.",
        )
    try:
        from distributed import Security
    except ImportError as err:
        raise UsageError(f"The task runner dask needs Dask: {err}.", _MISSING) from err
    if settings.dask_address.startswith("tls://"):
        try:
            context = Security().get_connection_args("client")["ssl_context"]  # type: ignore[no-untyped-call]
        except OSError as err:
            raise WorldError(f"Dask's certificate or key cannot be read: {err}.", _CERTIFICATE) from err
        if context is None:
            raise UsageError(f"The Dask scheduler at {settings.dask_address} needs a certificate.", _CERTIFICATE)


def dask_client(settings: Settings) -> Any:  # distributed is not typed
    """Connect to the scheduler, and wait until it has a worker; the caller closes the client.

    Raises:
        UsageError: see ``check_dask``.
        WorldError: nobody answers, or no worker comes; see ``check_dask``, too.
    """
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
        raise WorldError(
            f"No Dask scheduler with a worker answers at {redact(str(settings.dask_address))}.",
            "Start `dask scheduler` and `dask worker`, or correct SENTIFLOW_DASK_ADDRESS.",
        ) from without_secrets(err)
    return client


def threads_of(client: Any) -> int:
    """How many calls the cluster's workers take at a time."""
    return int(sum(client.nthreads().values()))
